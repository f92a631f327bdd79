//! One open microphone: cpal's callback at one end of a lock-free ring, the voice thread at the
//! other.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use cpal::traits::DeviceTrait;
use cpal::{Device, FromSample, SizedSample, Stream, StreamConfig};
use rtrb::{Consumer, Producer, RingBuffer};

use super::device::Kind;
use super::stream::{self, OpenStream, Pulse, Streaming};

/// Requested length of a callback, in ms: one frame of the voice-activity detector, because barge-in waits for it. ALSA
/// buffers twice as much, so its thread may be that late on a busy machine before sound is lost.
const PERIOD_MS: u32 = 16;

/// Length of the ring, in s: the longest delay of the voice thread without loss.
const RING_SECONDS: usize = 2;

/// State shared by both ends of the ring.
#[derive(Clone)]
struct Shared {
    pulse: Arc<Pulse>,
    /// Samples for which the ring had no room.
    lost: Arc<AtomicU64>,
}

/// An open microphone. Dropping it closes the device.
pub struct Capture {
    /// Frames per second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
    ring: Consumer<f32>,
    lost: Arc<AtomicU64>,
    held: OpenStream,
}

impl Capture {
    /// Appends the samples captured since the last call, interleaved.
    pub fn read(&mut self, output: &mut Vec<f32>) {
        stream::empty(&mut self.ring, output);
    }

    /// Samples lost because the ring was full, and the number of times the sound system itself lost some.
    #[must_use]
    pub fn losses(&self) -> (u64, u64) {
        (self.lost.load(Relaxed), self.held.pulse.overruns())
    }
}

impl Streaming for Capture {
    const KIND: Kind = Kind::Microphone;

    fn build(device: &Device, held: OpenStream) -> Result<(Stream, Self), cpal::Error> {
        let format = &held.format;
        let shared = Shared {
            pulse: Arc::clone(&held.pulse),
            lost: Arc::default(),
        };
        let build = stream::for_samples!(format.sample_format(), build_as)?;
        let (stream, ring) = stream::with_period(format.config(), PERIOD_MS, |config| {
            build(device, config, shared.clone())
        })?;
        let capture = Self {
            rate: format.sample_rate(),
            channels: format.channels(),
            ring,
            lost: shared.lost,
            held,
        };
        Ok((stream, capture))
    }

    fn held(&self) -> &OpenStream {
        &self.held
    }
}

fn build_as<T>(
    device: &Device,
    config: StreamConfig,
    shared: Shared,
) -> Result<(Stream, Consumer<f32>), cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels.max(1));
    let (ring, consumer) = RingBuffer::new(RING_SECONDS * config.sample_rate as usize * channels);
    let on_error = shared.pulse.on_error();
    let mut on_sound = callback(shared, ring, channels);
    let on_sound = move |sound: &[T], _: &cpal::InputCallbackInfo| on_sound(sound);
    let stream = device.build_input_stream(config, on_sound, on_error, Some(stream::BUILDING))?;
    Ok((stream, consumer))
}

/// The callback that takes samples from the sound system. Real time: allocates nothing, locks nothing, logs nothing.
fn callback<T>(
    Shared { pulse, lost }: Shared,
    mut ring: Producer<f32>,
    channels: usize,
) -> impl FnMut(&[T]) + Send + 'static
where
    T: SizedSample,
    f32: FromSample<T>,
{
    move |sound| {
        // Whole frames only, or the channels would change places.
        let taken = sound.len().min(ring.slots() / channels * channels);
        if let Ok(room) = ring.write_chunk_uninit(taken) {
            room.fill_from_iter(sound[..taken].iter().map(|sample| sample.to_sample()));
        }
        lost.fetch_add((sound.len() - taken) as u64, Relaxed);
        pulse.beat(pulse.now());
        pulse.wake();
    }
}

#[cfg(test)]
mod tests {
    use assert_no_alloc::assert_no_alloc;

    use super::*;

    #[test]
    fn taking_sound_allocates_nothing_even_when_nobody_reads_it() {
        let (ring, consumer) = RingBuffer::new(2000);
        let shared = Shared {
            pulse: Arc::new(Pulse::of_this_thread()),
            lost: Arc::default(),
        };
        let lost = Arc::clone(&shared.lost);
        let mut on_sound = callback::<i16>(shared, ring, 3);
        let sound = [i16::MAX; 960];
        assert_no_alloc(|| (0..4).for_each(|_| on_sound(&sound)));
        assert_eq!(
            (consumer.slots(), lost.load(Relaxed)),
            (1998, 4 * 960 - 1998)
        );
    }
}
