//! One open loudspeaker: the mouth's thread at one end of a lock-free ring, cpal's callback at the other.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use cpal::traits::DeviceTrait;
use cpal::{Device, FromSample, OutputCallbackInfo, SizedSample, Stream, StreamConfig};
use rtrb::{Consumer, Producer, RingBuffer};

use super::device::Kind;
use super::stream::{self, OpenStream, Pulse, Streaming};

/// Requested length of a callback, in ms. ALSA buffers twice as much, which is how long sound goes on after a stop.
const PERIOD_MS: u32 = 10;

/// Length of the ring, in ms: the longest delay of the mouth's thread without a gap.
const RING_MS: usize = 500;

/// Length of the far end's ring, in s: played sound that waits for the echo canceller.
const FAR_END_SECONDS: usize = 2;

/// Factor from each sample to the next where sound stops, so that a voice cut off does not click: to a hundredth in 5
/// ms at 48 kHz.
const FADE: f32 = 0.98;

/// State shared by both ends of the ring.
#[derive(Debug)]
struct Shared {
    pulse: Arc<Pulse>,
    /// When all samples taken from the ring so far have been heard, in nanoseconds since the stream was opened.
    heard: AtomicU64,
    /// Samples taken from the ring.
    taken: AtomicU64,
    /// Position, in samples, up to which the ring is discarded.
    cut: AtomicU64,
    /// Whether playback is paused: nothing is taken from the ring.
    is_held: AtomicBool,
}

impl Shared {
    fn new(pulse: Arc<Pulse>) -> Self {
        Self {
            pulse,
            heard: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            is_held: AtomicBool::new(false),
        }
    }
}

/// The sound a loudspeaker plays, for the echo canceller.
#[derive(Debug)]
pub struct FarEnd {
    /// Samples per second.
    pub rate: u32,
    ring: Consumer<f32>,
    shared: Arc<Shared>,
}

impl FarEnd {
    /// One of a loudspeaker that is no device: it plays what is pushed into the ring.
    pub fn without_device(rate: u32) -> (Producer<f32>, Self) {
        let (producer, ring) = RingBuffer::new(FAR_END_SECONDS * rate as usize);
        let shared = Arc::new(Shared::new(Arc::new(Pulse::of_this_thread())));
        (producer, Self { rate, ring, shared })
    }

    /// The callback for the sound system's errors.
    #[cfg(test)]
    pub fn on_error(&self) -> impl FnMut(cpal::Error) + Send + 'static {
        self.shared.pulse.on_error()
    }

    /// Appends the samples the device took since the last call, silence included. They are heard some 10 ms later.
    pub fn read(&mut self, output: &mut Vec<f32>) {
        stream::empty(&mut self.ring, output);
    }

    /// Pauses playback where it is, or resumes it, from the next callback on.
    pub fn hold(&self, is_held: bool) {
        self.shared.is_held.store(is_held, Relaxed);
    }

    /// Number of underruns. Each one delays the loudspeaker further.
    #[must_use]
    pub fn overruns(&self) -> u64 {
        self.shared.pulse.overruns()
    }

    /// Whether the loudspeaker was closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.hold(false);
    }
}

/// Our ends of two rings: sound to play, and sound played.
type Rings = (Producer<f32>, Consumer<f32>);

/// An open loudspeaker. It plays silence while nothing is written. Dropping it closes the device.
pub struct Playback {
    /// Samples per second. Each is played on every channel.
    pub rate: u32,
    ring: Producer<f32>,
    written: u64,
    shared: Arc<Shared>,
    far_end: Option<FarEnd>,
    held: OpenStream,
}

impl Playback {
    /// Writes as many of the samples as there is room for; returns how many.
    pub fn write(&mut self, samples: &[f32]) -> usize {
        let length = samples.len().min(self.ring.slots());
        if let Ok(chunk) = self.ring.write_chunk_uninit(length) {
            chunk.fill_from_iter(samples[..length].iter().copied());
        }
        self.written += length as u64;
        length
    }

    /// Samples written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether the device has begun to take what was written from `position` on.
    #[must_use]
    pub fn has_reached(&self, position: u64) -> bool {
        self.shared.taken.load(Relaxed) > position
    }

    /// When everything written was or will be heard to its end; `None` while the device has yet to take some of it.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        let taken = self.shared.taken.load(Relaxed);
        let heard = self.shared.heard.load(Relaxed);
        (taken >= self.written).then(|| self.shared.pulse.at(heard))
    }

    /// The far end, on the first call only.
    pub fn far_end(&mut self) -> Option<FarEnd> {
        self.far_end.take()
    }

    /// Discards the samples written but not yet taken, from the next callback on.
    pub fn cut(&mut self) {
        self.shared.cut.store(self.written, Relaxed);
    }
}

impl Streaming for Playback {
    const KIND: Kind = Kind::Loudspeaker;

    fn build(device: &Device, held: OpenStream) -> Result<(Stream, Self), cpal::Error> {
        let format = &held.format;
        let shared = Arc::new(Shared::new(Arc::clone(&held.pulse)));
        let build = stream::for_samples!(format.sample_format(), build_as)?;
        let (stream, (ring, played)) = stream::with_period(format.config(), PERIOD_MS, |config| {
            build(device, config, shared.clone())
        })?;
        let rate = format.sample_rate();
        let playback = Self {
            rate,
            ring,
            written: 0,
            far_end: Some(FarEnd {
                rate,
                ring: played,
                shared: Arc::clone(&shared),
            }),
            shared,
            held,
        };
        Ok((stream, playback))
    }

    fn held(&self) -> &OpenStream {
        &self.held
    }
}

fn build_as<T>(
    device: &Device,
    config: StreamConfig,
    shared: Arc<Shared>,
) -> Result<(Stream, Rings), cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let channels = usize::from(config.channels.max(1));
    let rate = config.sample_rate.max(1);
    let (producer, ring) = RingBuffer::new(RING_MS * rate as usize / 1000);
    let (far_end, played) = RingBuffer::new(FAR_END_SECONDS * rate as usize);
    let on_error = shared.pulse.on_error();
    let mut on_room = callback(shared, ring, far_end, channels, rate);
    let on_room = move |room: &mut [T], info: &OutputCallbackInfo| {
        let stamp = info.timestamp();
        on_room(room, stamp.playback.duration_since(stamp.callback));
    };
    let stream = device.build_output_stream(config, on_room, on_error, Some(stream::BUILDING))?;
    Ok((stream, (producer, played)))
}

/// The callback that gives samples to the sound system; its second argument is the time until they are heard. Real
/// time: allocates nothing, locks nothing, logs nothing.
fn callback<T>(
    shared: Arc<Shared>,
    mut ring: Consumer<f32>,
    mut far_end: Producer<f32>,
    channels: usize,
    rate: u32,
) -> impl FnMut(&mut [T], Duration) + Send + 'static
where
    T: SizedSample + FromSample<f32>,
{
    let mut last = 0.0;
    move |room, wait| {
        let now = shared.pulse.now();
        let mut taken = shared.taken.load(Relaxed);
        let cut = shared.cut.load(Relaxed).saturating_sub(taken);
        let cut = usize::try_from(cut).map_or(ring.slots(), |cut| cut.min(ring.slots()));
        if let Ok(chunk) = ring.read_chunk(cut) {
            chunk.commit_all();
        }
        taken += cut as u64;
        let is_held = shared.is_held.load(Relaxed);
        let waiting = if is_held { 0 } else { ring.slots() };
        let frames = (room.len() / channels).min(waiting);
        let mut samples = ring.read_chunk(frames).ok().map(IntoIterator::into_iter);
        for frame in room.chunks_mut(channels) {
            last = samples
                .as_mut()
                .and_then(Iterator::next)
                .unwrap_or(last * FADE);
            frame.fill(T::from_sample(last));
            // Without an echo canceller, the ring stays full.
            let _ = far_end.push(last);
        }
        drop(samples);
        if frames > 0 || cut > 0 {
            let length = Duration::from_secs(1) * u32::try_from(frames).unwrap_or(0);
            let until_heard = wait + length / rate;
            let until_heard = u64::try_from(until_heard.as_nanos()).unwrap_or(0);
            shared.heard.store(now + until_heard, Relaxed);
            shared.taken.store(taken + frames as u64, Relaxed);
        }
        if shared.pulse.beat(now) || frames > 0 || cut > 0 {
            shared.pulse.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use assert_no_alloc::assert_no_alloc;

    use super::*;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(Arc::new(Pulse::of_this_thread())))
    }

    #[test]
    fn playing_allocates_nothing_and_the_far_end_hears_what_is_played() {
        let shared = shared();
        let (mut ring, samples) = RingBuffer::new(1000);
        let (far_end, mut played) = RingBuffer::new(1500);
        let mut on_room = callback::<f32>(Arc::clone(&shared), samples, far_end, 2, 48_000);
        for sample in [0.5; 600] {
            ring.push(sample).unwrap();
        }
        let mut room = [1.0; 800];
        assert_no_alloc(|| (0..4).for_each(|_| on_room(&mut room, Duration::ZERO)));
        assert_eq!(shared.taken.load(Relaxed), 600);
        let heard: Vec<f32> = std::iter::from_fn(|| played.pop().ok()).collect();
        assert_eq!((heard.len(), heard[599], heard[600]), (1500, 0.5, 0.49));
    }

    #[test]
    fn what_is_held_is_played_from_where_it_was_and_what_is_cut_is_not() {
        let shared = shared();
        let (mut ring, samples) = RingBuffer::new(1000);
        let (far_end, _) = RingBuffer::new(1);
        let mut on_room = callback::<f32>(Arc::clone(&shared), samples, far_end, 1, 48_000);
        for sample in [0.1, 0.2, 0.3, 0.4] {
            ring.push(sample).unwrap();
        }
        let mut next = |count| {
            let mut room = vec![0.0; count];
            on_room(&mut room, Duration::ZERO);
            room
        };
        assert_eq!(next(2), [0.1, 0.2]);
        shared.is_held.store(true, Relaxed);
        assert_eq!(next(1), [0.2 * FADE]);
        shared.is_held.store(false, Relaxed);
        assert_eq!(next(1), [0.3]);
        shared.cut.store(4, Relaxed);
        assert_eq!(next(1), [0.3 * FADE]);
    }
}
