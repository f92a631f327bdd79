//! A stream of sound that is opened, held and closed on a thread of its own, because the sound system may
//! block in any of these: closing an ALSA stream whose server was killed has been seen never to return.
//! A thread that is stuck is left behind.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{BufferSize, Device, ErrorKind, HostId, Stream, StreamConfig, SupportedStreamConfig};

use rtrb::Consumer;

use super::device::{self, DeviceError, Kind, Wanted};

/// Longest wait of a new stream for the previous one to release the device.
const CLOSING: Duration = Duration::from_secs(1);

/// Longest time the sound system may take to build a stream, where cpal can pass that on.
pub const BUILDING: Duration = Duration::from_secs(5);

/// An open stream of sound, seen from our end of its ring.
pub trait Streaming: Sized + Send + 'static {
    /// Which way its sound goes.
    const KIND: Kind;

    /// Builds the stream in the format of `held`, and our end of it, which keeps `held`.
    ///
    /// # Errors
    /// When the sound system refuses.
    fn build(device: &Device, held: OpenStream) -> Result<(Stream, Self), cpal::Error>;

    /// The part common to all streams.
    fn held(&self) -> &OpenStream;
}

/// Moves all samples from a ring to the end of `output`. The read cannot fail: this is the ring's only reader.
pub fn empty(ring: &mut Consumer<f32>, output: &mut Vec<f32>) {
    if let Ok(chunk) = ring.read_chunk(ring.slots()) {
        let (first, second) = chunk.as_slices();
        output.extend_from_slice(first);
        output.extend_from_slice(second);
        chunk.commit_all();
    }
}

/// The part common to all streams. Dropping it closes the device.
pub struct OpenStream {
    /// Its name for people.
    pub name: String,
    /// The sound system it belongs to.
    pub host: HostId,
    /// The device's own format, because the sound system would convert worse than we do.
    pub format: SupportedStreamConfig,
    /// Shared with the callback.
    pub pulse: Arc<Pulse>,
    /// Its thread closes the stream when this is dropped.
    _opened: Sender<Infallible>,
}

impl OpenStream {
    fn of(
        kind: Kind,
        device: &Device,
        listener: &Thread,
        opened: Sender<Infallible>,
    ) -> Result<Self, DeviceError> {
        let name = device::name(device);
        let failed = |error: cpal::Error| DeviceError::new(kind, &name, &error);
        let (host, format) = (
            device.id().map_err(failed)?.host(),
            kind.format_of(device).map_err(failed)?,
        );
        Ok(Self {
            name,
            host,
            format,
            pulse: Arc::new(Pulse::new(listener.clone())),
            _opened: opened,
        })
    }
}

/// State shared by a stream's callback and our end of it.
#[derive(Debug)]
pub struct Pulse {
    opened: Instant,
    /// Nanoseconds from `opened` to the last callback; 0 before the first.
    moved: AtomicU64,
    /// Times the sound system lost sound, or had none to play.
    overruns: AtomicU64,
    /// The first error that ended the stream. A broken ALSA stream has been seen to report more than a million errors a
    /// second.
    fault: OnceLock<cpal::Error>,
    /// The thread at our end.
    listener: Thread,
}

impl Pulse {
    fn new(listener: Thread) -> Self {
        Self {
            opened: Instant::now(),
            moved: AtomicU64::new(0),
            overruns: AtomicU64::new(0),
            fault: OnceLock::new(),
            listener,
        }
    }

    /// That of a stream that is no device, whose other end is this thread.
    pub fn of_this_thread() -> Self {
        Self::new(thread::current())
    }

    /// Nanoseconds since the stream was opened, never 0. For the callback.
    pub fn now(&self) -> u64 {
        let now = u64::try_from(self.opened.elapsed().as_nanos());
        now.unwrap_or(u64::MAX).max(1)
    }

    /// Records that sound moves at `now`; returns whether it is the first time. For the callback.
    pub fn beat(&self, now: u64) -> bool {
        self.moved.swap(now, Relaxed) == 0
    }

    /// Wakes the thread at our end. For the callback: an atomic swap and, if the thread sleeps, one system
    /// call that does not block; so that thread neither polls nor waits longer than it must.
    pub fn wake(&self) {
        self.listener.unpark();
    }

    /// The callback for the sound system's errors.
    pub fn on_error(self: &Arc<Self>) -> impl FnMut(cpal::Error) + Send + 'static {
        let pulse = Arc::clone(self);
        move |error| match error.kind() {
            // The stream goes on.
            ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {}
            ErrorKind::Xrun => {
                pulse.overruns.fetch_add(1, Relaxed);
            }
            _ => {
                if pulse.fault.set(error).is_ok() {
                    pulse.wake();
                }
            }
        }
    }

    /// The instant `nanoseconds` after the stream was opened.
    pub fn at(&self, nanoseconds: u64) -> Instant {
        self.opened + Duration::from_nanos(nanoseconds)
    }

    /// When sound last moved; before any did, when the stream was opened.
    pub fn moved(&self) -> Instant {
        self.at(self.moved.load(Relaxed))
    }

    /// Whether any sound moved.
    pub fn has_moved(&self) -> bool {
        self.moved.load(Relaxed) > 0
    }

    /// Times the sound system lost sound, or had none to play.
    pub fn overruns(&self) -> u64 {
        self.overruns.load(Relaxed)
    }

    /// The error that ended the stream, if one did.
    pub fn fault(&self) -> Option<&cpal::Error> {
        self.fault.get()
    }
}

/// Disconnects when a thread that held a stream has let go of the device.
pub struct Closed(Receiver<Infallible>);

/// A device that is being opened, which yields our end of it. Dropping this gives up.
pub struct Opening<S>(Receiver<Result<S, DeviceError>>);

impl<S: Streaming> Opening<S> {
    /// The outcome, once there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<S, DeviceError>> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(DeviceError::System(
                S::KIND,
                "the audio library crashed".into(),
            ))),
        }
    }
}

/// Starts to open the `wanted` device; [`device::find`] says which one that is. `listener` is unparked when the device
/// is open or has failed to open, whenever sound has moved, and when the stream breaks. `before` is the stream to wait
/// for first.
///
/// # Errors
/// When no thread can be started.
pub fn open<S: Streaming>(
    wanted: Wanted,
    host: Option<HostId>,
    listener: Thread,
    before: Option<Closed>,
) -> io::Result<(Opening<S>, Closed)> {
    let (outcome, opening) = mpsc::channel();
    let (holding, closed) = mpsc::channel();
    thread::Builder::new()
        .name(S::KIND.to_string())
        .spawn(move || {
            if let Some(Closed(before)) = before {
                // Disconnected or timed out: either way it is our turn.
                let _ = before.recv_timeout(CLOSING);
            }
            // ALSA writes to standard error about every device it cannot open, at every attempt.
            let alsa = alsa::Output::local_error_handler();
            let (opened, dropped) = mpsc::channel();
            match start::<S>(&wanted, host, &listener, opened) {
                Ok((stream, it)) => {
                    if outcome.send(Ok(it)).is_ok() {
                        listener.unpark();
                        // Nothing is ever sent; this returns when our end is dropped.
                        let _ = dropped.recv();
                    }
                    drop(stream);
                }
                Err(error) => {
                    if let Ok(alsa) = alsa {
                        log::debug!(alsa:% = alsa.borrow(); "no {}: {error}", S::KIND);
                    }
                    // The receiver may be gone.
                    let _ = outcome.send(Err(error));
                    listener.unpark();
                }
            }
            drop::<Sender<Infallible>>(holding);
        })?;
    Ok((Opening(opening), Closed(closed)))
}

fn start<S: Streaming>(
    wanted: &Wanted,
    host: Option<HostId>,
    listener: &Thread,
    opened: Sender<Infallible>,
) -> Result<(Stream, S), DeviceError> {
    let device = device::find(S::KIND, &wanted.device, host)?;
    let held = OpenStream::of(S::KIND, &device, listener, opened)?;
    let name = held.name.clone();
    if wanted.channel > held.format.channels() {
        return Err(DeviceError::Channel {
            kind: S::KIND,
            name,
            has: held.format.channels(),
            wanted: wanted.channel,
        });
    }
    let failed = |error: cpal::Error| DeviceError::new(S::KIND, &name, &error);
    let (stream, it) = S::build(&device, held).map_err(failed)?;
    stream.play().map_err(failed)?;
    let format = &it.held().format;
    log::info!(
        rate = format.sample_rate(), channels = format.channels(), format:% = format.sample_format();
        "{} {name} opened", S::KIND
    );
    Ok((stream, it))
}

/// Builds a stream with `milliseconds` of sound per callback, or with the device's default if it refuses that.
///
/// # Errors
/// Those of `build`.
pub fn with_period<T>(
    mut config: StreamConfig,
    milliseconds: u32,
    build: impl Fn(StreamConfig) -> Result<T, cpal::Error>,
) -> Result<T, cpal::Error> {
    // Dividing first cannot overflow, and the rounding does not matter.
    config.buffer_size = BufferSize::Fixed((config.sample_rate / 1000 * milliseconds).max(1));
    build(config).or_else(|error| {
        if error.kind() != ErrorKind::UnsupportedConfig {
            return Err(error);
        }
        config.buffer_size = BufferSize::Default;
        build(config)
    })
}

/// The instance of a generic function for the type of a device's samples.
///
/// # Errors
/// [`ErrorKind::UnsupportedConfig`] for samples that are not PCM.
macro_rules! for_samples {
    ($format:expr, $function:ident) => {{
        use cpal::SampleFormat;
        match $format {
            SampleFormat::I8 => Ok($function::<i8> as fn(_, _, _) -> _),
            SampleFormat::I16 => Ok($function::<i16> as _),
            SampleFormat::I24 => Ok($function::<cpal::I24> as _),
            SampleFormat::I32 => Ok($function::<i32> as _),
            SampleFormat::I64 => Ok($function::<i64> as _),
            SampleFormat::U8 => Ok($function::<u8> as _),
            SampleFormat::U16 => Ok($function::<u16> as _),
            SampleFormat::U24 => Ok($function::<cpal::U24> as _),
            SampleFormat::U32 => Ok($function::<u32> as _),
            SampleFormat::U64 => Ok($function::<u64> as _),
            SampleFormat::F32 => Ok($function::<f32> as _),
            SampleFormat::F64 => Ok($function::<f64> as _),
            other => Err(cpal::Error::with_message(
                cpal::ErrorKind::UnsupportedConfig,
                format!("{other} samples"),
            )),
        }
    }};
}
pub(crate) use for_samples;
