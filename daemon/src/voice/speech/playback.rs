//! One open loudspeaker: the mouth's thread at one end of a lock-free ring, cpal's callback at the other.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{
    Device, ErrorKind, FromSample, HostId, OutputCallbackInfo, SizedSample, Stream, StreamConfig,
    SupportedStreamConfig,
};
use rtrb::{Producer, RingBuffer};

use crate::voice::device::{self, DeviceError, Kind};
use crate::voice::held::{self, Closed, Hold, Opening};
use crate::voice::watched::Streaming;

/// Milliseconds of sound asked for per callback. ALSA keeps twice as much, which is how long the last word
/// is still heard after it was stopped.
const PERIOD_MS: u32 = 20;

/// Milliseconds of sound the ring holds: how late the mouth's thread may be.
const RING_MS: usize = 500;

/// By how much silence after a sound is less than the sample before, so that a voice that is stopped does not
/// click: to a hundredth in 5 ms at 48 kHz.
const FADE: f32 = 0.98;

/// What both ends of the ring know.
struct Shared {
    opened: Instant,
    /// Nanoseconds from `opened` to the last callback.
    called: AtomicU64,
    /// Nanoseconds from the last callback that took samples until the first of them is heard.
    latency: AtomicU64,
    /// Nanoseconds from `opened` to that callback.
    taken_at: AtomicU64,
    /// Samples taken from the ring.
    taken: AtomicU64,
    /// Samples of the ring up to here are not to be played any more.
    cut: AtomicU64,
    /// The first error that ends the stream.
    fault: OnceLock<cpal::Error>,
}

impl Shared {
    fn since_opened(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// An open loudspeaker. It plays silence while nothing is written. Dropping it closes the device.
pub struct Playback {
    name: String,
    host: HostId,
    /// Samples per second. Each is played on every channel.
    pub rate: u32,
    ring: Producer<f32>,
    written: u64,
    shared: Arc<Shared>,
    /// The thread that holds the stream lets go of it when this is dropped.
    _hold: Hold,
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

    /// When everything that was written is or was heard to its end; `None` while the device has yet to take
    /// some of it.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        let taken = self.shared.taken.load(Relaxed);
        let after = self.shared.taken_at.load(Relaxed) + self.shared.latency.load(Relaxed);
        (taken >= self.written).then(|| self.shared.opened + Duration::from_nanos(after))
    }

    /// What was written and not yet taken is not played, beginning with the next callback.
    pub fn cut(&mut self) {
        self.shared.cut.store(self.written, Relaxed);
    }
}

impl Streaming for Playback {
    const KIND: Kind = Kind::Loudspeaker;

    fn open(
        wanted: String,
        host: Option<HostId>,
        listener: Thread,
        before: Option<Closed>,
    ) -> io::Result<(Opening<Self>, Closed)> {
        let woken = listener.clone();
        held::open(
            Self::KIND,
            wanted,
            host,
            listener,
            before,
            move |device, hold| start(device, hold, &woken),
        )
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn host(&self) -> HostId {
        self.host
    }

    fn moved(&self) -> Instant {
        self.shared.opened + Duration::from_nanos(self.shared.called.load(Relaxed))
    }

    fn has_moved(&self) -> bool {
        self.shared.called.load(Relaxed) > 0
    }

    fn fault(&self) -> Option<&cpal::Error> {
        self.shared.fault.get()
    }
}

/// Starts a stream in the device's own format.
fn start(
    device: &Device,
    hold: Hold,
    listener: &Thread,
) -> Result<(Stream, Playback), DeviceError> {
    let name = device::name(device);
    let failed = |error: cpal::Error| DeviceError::new(Kind::Loudspeaker, &name, &error);
    let host = device.id().map_err(failed)?.host();
    let format = device.default_output_config().map_err(failed)?;
    let (rate, channels) = (format.sample_rate(), format.channels());
    let shared = Arc::new(Shared {
        opened: Instant::now(),
        called: AtomicU64::new(0),
        latency: AtomicU64::new(0),
        taken_at: AtomicU64::new(0),
        taken: AtomicU64::new(0),
        cut: AtomicU64::new(0),
        fault: OnceLock::new(),
    });
    let (stream, ring) = build(device, &format, listener, &shared).map_err(failed)?;
    stream.play().map_err(failed)?;
    log::info!(rate, channels, format:% = format.sample_format(); "loudspeaker {name} opened");
    let playback = Playback {
        name,
        host,
        rate,
        ring,
        written: 0,
        shared,
        _hold: hold,
    };
    Ok((stream, playback))
}

fn build(
    device: &Device,
    format: &SupportedStreamConfig,
    listener: &Thread,
    shared: &Arc<Shared>,
) -> Result<(Stream, Producer<f32>), cpal::Error> {
    let build = held::for_samples!(format.sample_format(), build_as)?;
    held::with_period(format.config(), PERIOD_MS, |config| {
        build(device, config, listener.clone(), shared.clone())
    })
}

fn build_as<T>(
    device: &Device,
    config: StreamConfig,
    listener: Thread,
    shared: Arc<Shared>,
) -> Result<(Stream, Producer<f32>), cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let channels = usize::from(config.channels.max(1));
    let (producer, mut ring) = RingBuffer::<f32>::new(RING_MS * config.sample_rate as usize / 1000);
    let on_error = {
        let (listener, shared) = (listener.clone(), shared.clone());
        move |error: cpal::Error| match error.kind() {
            // The stream goes on.
            ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied | ErrorKind::Xrun => {}
            _ => {
                if shared.fault.set(error).is_ok() {
                    listener.unpark();
                }
            }
        }
    };
    let mut last = 0.0;
    // Real time: allocates nothing, locks nothing, logs nothing; see the microphone's.
    let on_room = move |room: &mut [T], info: &OutputCallbackInfo| {
        let now = shared.since_opened();
        let mut taken = shared.taken.load(Relaxed);
        let cut = shared.cut.load(Relaxed).saturating_sub(taken);
        let cut = usize::try_from(cut).map_or(ring.slots(), |cut| cut.min(ring.slots()));
        if let Ok(chunk) = ring.read_chunk(cut) {
            chunk.commit_all();
        }
        taken += cut as u64;
        let frames = (room.len() / channels).min(ring.slots());
        let mut samples = ring.read_chunk(frames).ok().map(IntoIterator::into_iter);
        for frame in room.chunks_mut(channels) {
            last = samples
                .as_mut()
                .and_then(Iterator::next)
                .unwrap_or(last * FADE);
            frame.fill(T::from_sample(last));
        }
        drop(samples);
        if frames > 0 || cut > 0 {
            let stamp = info.timestamp();
            let wait = stamp.playback.duration_since(stamp.callback);
            let length = Duration::from_secs(1) * u32::try_from(frames).unwrap_or(0);
            let until_heard = wait + length / config.sample_rate.max(1);
            let until_heard = u64::try_from(until_heard.as_nanos()).unwrap_or(0);
            shared.latency.store(until_heard, Relaxed);
            shared.taken_at.store(now, Relaxed);
            shared.taken.store(taken + frames as u64, Relaxed);
        }
        let is_first = shared.called.swap(now.max(1), Relaxed) == 0;
        if is_first || frames > 0 || cut > 0 {
            listener.unpark();
        }
    };
    let stream = device.build_output_stream(config, on_room, on_error, Some(held::BUILDING))?;
    Ok((stream, producer))
}
