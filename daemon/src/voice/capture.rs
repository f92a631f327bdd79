//! One open microphone: cpal's callback at one end of a lock-free ring, the voice thread at the
//! other.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{
    Device, ErrorKind, FromSample, HostId, SizedSample, Stream, StreamConfig, SupportedStreamConfig,
};
use rtrb::{Consumer, RingBuffer};

use super::device::{self, DeviceError, Kind};
use super::held::{self, Closed, Hold, Opening};
use super::watched::Streaming;

/// Milliseconds of sound asked for per callback. ALSA keeps twice as much, which is how late its
/// thread may be on a busy machine before sound is lost.
const PERIOD_MS: u32 = 32;

/// Seconds of sound the ring holds: how late the voice thread may be.
const RING_SECONDS: usize = 2;

/// What both ends of the ring know.
struct Shared {
    opened: Instant,
    /// Nanoseconds from `opened` to the last callback.
    heard: AtomicU64,
    /// Samples for which the ring had no room.
    lost: AtomicU64,
    /// Times the sound system lost sound before it reached us.
    overruns: AtomicU64,
    /// The first error that ends the stream. A broken ALSA stream has been seen to report more than
    /// a million of them a second.
    fault: OnceLock<cpal::Error>,
}

/// An open microphone. Dropping it closes the device.
pub struct Capture {
    name: String,
    host: HostId,
    /// Frames per second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
    ring: Consumer<f32>,
    shared: Arc<Shared>,
    _hold: Hold,
}

impl Capture {
    /// Appends what was captured since the last call, interleaved.
    pub fn read(&mut self, output: &mut Vec<f32>) {
        // There is always as much to read as the ring says: this is its only reader.
        if let Ok(chunk) = self.ring.read_chunk(self.ring.slots()) {
            let (first, second) = chunk.as_slices();
            output.extend_from_slice(first);
            output.extend_from_slice(second);
            chunk.commit_all();
        }
    }

    /// Samples lost because nobody read them in time, and times the sound system lost some itself.
    #[must_use]
    pub fn losses(&self) -> (u64, u64) {
        (
            self.shared.lost.load(Relaxed),
            self.shared.overruns.load(Relaxed),
        )
    }
}

impl Streaming for Capture {
    const KIND: Kind = Kind::Microphone;

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

    /// When the last sample in the ring was captured, give or take the latency of the device.
    fn moved(&self) -> Instant {
        self.shared.opened + Duration::from_nanos(self.shared.heard.load(Relaxed))
    }

    fn has_moved(&self) -> bool {
        self.shared.heard.load(Relaxed) > 0
    }

    fn fault(&self) -> Option<&cpal::Error> {
        self.shared.fault.get()
    }
}

/// Starts a stream in the device's own format where it has one, because the sound system would
/// convert worse than we do.
fn start(device: &Device, hold: Hold, listener: &Thread) -> Result<(Stream, Capture), DeviceError> {
    let name = device::name(device);
    let failed = |error: cpal::Error| DeviceError::new(Kind::Microphone, &name, &error);
    let host = device.id().map_err(failed)?.host();
    let format = device.default_input_config().map_err(failed)?;
    let (rate, channels) = (format.sample_rate(), format.channels());
    let shared = Arc::new(Shared {
        opened: Instant::now(),
        heard: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        overruns: AtomicU64::new(0),
        fault: OnceLock::new(),
    });
    let (stream, ring) = build(device, &format, listener, &shared).map_err(failed)?;
    stream.play().map_err(failed)?;
    log::info!(rate, channels, format:% = format.sample_format(); "microphone {name} opened");
    let capture = Capture {
        name,
        host,
        rate,
        channels,
        ring,
        shared,
        _hold: hold,
    };
    Ok((stream, capture))
}

fn build(
    device: &Device,
    format: &SupportedStreamConfig,
    listener: &Thread,
    shared: &Arc<Shared>,
) -> Result<(Stream, Consumer<f32>), cpal::Error> {
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
) -> Result<(Stream, Consumer<f32>), cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels.max(1));
    let (mut ring, consumer) =
        RingBuffer::new(RING_SECONDS * config.sample_rate as usize * channels);
    let on_error = {
        let (listener, shared) = (listener.clone(), shared.clone());
        move |error: cpal::Error| match error.kind() {
            // The stream goes on.
            ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {}
            ErrorKind::Xrun => {
                shared.overruns.fetch_add(1, Relaxed);
            }
            _ => {
                if shared.fault.set(error).is_ok() {
                    listener.unpark();
                }
            }
        }
    };
    // Real time: allocates nothing, locks nothing, logs nothing. Unparking is an atomic swap and,
    // if the thread sleeps, one system call that does not block; so the voice thread neither polls
    // nor waits longer than it must.
    let on_sound = move |sound: &[T], _: &cpal::InputCallbackInfo| {
        // Whole frames only, or the channels would change places.
        let taken = sound.len().min(ring.slots() / channels * channels);
        if let Ok(room) = ring.write_chunk_uninit(taken) {
            room.fill_from_iter(sound[..taken].iter().map(|sample| sample.to_sample()));
        }
        shared.lost.fetch_add((sound.len() - taken) as u64, Relaxed);
        let since = u64::try_from(shared.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        shared.heard.store(since, Relaxed);
        listener.unpark();
    };
    let stream = device.build_input_stream(config, on_sound, on_error, Some(held::BUILDING))?;
    Ok((stream, consumer))
}
