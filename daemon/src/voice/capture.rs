//! One open microphone: cpal's callback at one end of a lock-free ring, the voice thread at the
//! other.
//!
//! A stream is opened, held and closed on a thread of its own, because the sound system may block
//! in either: closing an ALSA stream whose server was killed has been seen never to return. Such a
//! thread is left behind; nobody waits for it.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{
    BufferSize, Device, ErrorKind, FromSample, HostId, SampleFormat, SizedSample, Stream,
    StreamConfig, SupportedStreamConfig,
};
use rtrb::{Consumer, RingBuffer};

use super::device::{self, CaptureError};

/// Milliseconds of sound asked for per callback. ALSA keeps twice as much, which is how late its
/// thread may be on a busy machine before sound is lost.
const PERIOD_MS: u32 = 32;

/// Seconds of sound the ring holds: how late the voice thread may be.
const RING_SECONDS: usize = 2;

/// How long a new stream waits for the one before it to let go of the device.
const CLOSING: Duration = Duration::from_secs(1);

/// How long the sound system may take to make a stream, where cpal can tell it.
const BUILDING: Duration = Duration::from_secs(5);

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
    /// Its name for people.
    pub name: String,
    /// The sound system it belongs to.
    pub host: HostId,
    /// Frames per second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
    ring: Consumer<f32>,
    shared: Arc<Shared>,
    /// The thread that holds the stream lets go of it when this is dropped.
    _hold: Sender<Infallible>,
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

    /// When sound came last: when the last sample in the ring was captured, give or take the
    /// latency of the device. Before any came, when the microphone was opened.
    #[must_use]
    pub fn heard(&self) -> Instant {
        self.shared.opened + Duration::from_nanos(self.shared.heard.load(Relaxed))
    }

    /// Whether any sound came.
    #[must_use]
    pub fn has_sounded(&self) -> bool {
        self.shared.heard.load(Relaxed) > 0
    }

    /// Samples lost because nobody read them in time, and times the sound system lost some itself.
    #[must_use]
    pub fn losses(&self) -> (u64, u64) {
        (
            self.shared.lost.load(Relaxed),
            self.shared.overruns.load(Relaxed),
        )
    }

    /// The error that ended the stream, if one did.
    #[must_use]
    pub fn fault(&self) -> Option<&cpal::Error> {
        self.shared.fault.get()
    }
}

/// Disconnects when a thread that held a stream has let go of the device.
pub struct Closed(Receiver<Infallible>);

/// A microphone that is being opened. Dropping it gives up.
pub struct Opening(Receiver<Result<Capture, CaptureError>>);

impl Opening {
    /// The outcome, once there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<Capture, CaptureError>> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Err(CaptureError::System("its library crashed".into())))
            }
        }
    }
}

/// Begins to open the microphone called `wanted` by id or name, or the default one of `host` or of
/// the first sound system that answers. `listener` is unparked when it is open or has failed, for
/// every piece of sound, and when it breaks. `before` is the stream to wait for first.
///
/// # Errors
/// When no thread can be started.
pub fn open(
    wanted: String,
    host: Option<HostId>,
    listener: Thread,
    before: Option<Closed>,
) -> io::Result<(Opening, Closed)> {
    let (outcome, opening) = mpsc::channel();
    let (holding, closed) = mpsc::channel();
    thread::Builder::new()
        .name("microphone".into())
        .spawn(move || {
            if let Some(Closed(before)) = before {
                // Disconnected or timed out: either way it is our turn.
                let _ = before.recv_timeout(CLOSING);
            }
            hold(&wanted, host, &listener, &outcome);
            drop::<Sender<Infallible>>(holding);
        })?;
    Ok((Opening(opening), Closed(closed)))
}

/// Opens the microphone, hands it over, and closes it when it is dropped there.
fn hold(
    wanted: &str,
    host: Option<HostId>,
    listener: &Thread,
    outcome: &Sender<Result<Capture, CaptureError>>,
) {
    // ALSA writes to standard error about every device it cannot open, at every attempt.
    let alsa = alsa::Output::local_error_handler();
    match device::find(wanted, host).and_then(|device| start(&device, listener)) {
        Ok((stream, capture, dropped)) => {
            if outcome.send(Ok(capture)).is_ok() {
                listener.unpark();
                // Nothing is ever sent; this returns when the capture is dropped.
                let _ = dropped.recv();
            }
            drop(stream);
        }
        Err(error) => {
            if let Ok(alsa) = alsa {
                log::debug!(alsa:% = alsa.borrow(); "no microphone: {error}");
            }
            // Nobody may want to know any more.
            let _ = outcome.send(Err(error));
            listener.unpark();
        }
    }
}

/// Starts a stream in the device's own format where it has one, because the sound system would
/// convert worse than we do.
fn start(
    device: &Device,
    listener: &Thread,
) -> Result<(Stream, Capture, Receiver<Infallible>), CaptureError> {
    let name = device::name(device);
    let failed = |error: cpal::Error| CaptureError::new(&name, &error);
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
    let (hold, dropped) = mpsc::channel();
    Ok((
        stream,
        Capture {
            name,
            host,
            rate,
            channels,
            ring,
            shared,
            _hold: hold,
        },
        dropped,
    ))
}

fn build(
    device: &Device,
    format: &SupportedStreamConfig,
    listener: &Thread,
    shared: &Arc<Shared>,
) -> Result<(Stream, Consumer<f32>), cpal::Error> {
    let build = match format.sample_format() {
        SampleFormat::I8 => build_as::<i8>,
        SampleFormat::I16 => build_as::<i16>,
        SampleFormat::I24 => build_as::<cpal::I24>,
        SampleFormat::I32 => build_as::<i32>,
        SampleFormat::I64 => build_as::<i64>,
        SampleFormat::U8 => build_as::<u8>,
        SampleFormat::U16 => build_as::<u16>,
        SampleFormat::U24 => build_as::<cpal::U24>,
        SampleFormat::U32 => build_as::<u32>,
        SampleFormat::U64 => build_as::<u64>,
        SampleFormat::F32 => build_as::<f32>,
        SampleFormat::F64 => build_as::<f64>,
        other => {
            let message = format!("{other} samples");
            return Err(cpal::Error::with_message(
                ErrorKind::UnsupportedConfig,
                message,
            ));
        }
    };
    let mut config = format.config();
    // Divided first, which loses nothing worth having and cannot overflow.
    config.buffer_size = BufferSize::Fixed((config.sample_rate / 1000 * PERIOD_MS).max(1));
    build(device, config, listener.clone(), shared.clone()).or_else(|error| {
        if error.kind() != ErrorKind::UnsupportedConfig {
            return Err(error);
        }
        config.buffer_size = BufferSize::Default;
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
    let stream = device.build_input_stream(config, on_sound, on_error, Some(BUILDING))?;
    Ok((stream, consumer))
}
