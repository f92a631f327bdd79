//! One open microphone: cpal's callback at one end of a lock-free ring, the voice thread at the
//! other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cpal::traits::DeviceTrait;
use cpal::{Device, FromSample, SizedSample, Stream, StreamConfig};
use rtrb::{Consumer, Producer, RingBuffer};

use super::device::Kind;
use super::held::{self, Held, Pulse, Streaming};

/// Milliseconds of sound asked for per callback: a frame of the voice-activity detector, because whoever speaks over
/// the assistant waits for it. ALSA keeps twice as much, which is how late its thread may be on a busy machine before
/// sound is lost.
const PERIOD_MS: u32 = 16;

/// Seconds of sound the ring holds: how late the voice thread may be.
const RING_SECONDS: usize = 2;

/// What both ends of the ring know.
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
    held: Held,
}

impl Capture {
    /// Appends what was captured since the last call, interleaved.
    pub fn read(&mut self, output: &mut Vec<f32>) {
        held::empty(&mut self.ring, output);
    }

    /// Samples lost because nobody read them in time, and times the sound system lost some itself.
    #[must_use]
    pub fn losses(&self) -> (u64, u64) {
        (self.lost.load(Relaxed), self.held.pulse.overruns())
    }
}

impl Streaming for Capture {
    const KIND: Kind = Kind::Microphone;

    fn build(device: &Device, held: Held) -> Result<(Stream, Self), cpal::Error> {
        let format = &held.format;
        let shared = Shared {
            pulse: Arc::clone(&held.pulse),
            lost: Arc::default(),
        };
        let build = held::for_samples!(format.sample_format(), build_as)?;
        let (stream, ring) = held::with_period(format.config(), PERIOD_MS, |config| {
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

    fn held(&self) -> &Held {
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
    let stream = device.build_input_stream(config, on_sound, on_error, Some(held::BUILDING))?;
    Ok((stream, consumer))
}

/// What takes the sound from the sound system. Real time: allocates nothing, locks nothing, logs nothing.
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
