//! A stream of sound that is opened, held and closed on a thread of its own, because the sound system may
//! block in any of these: closing an ALSA stream whose server was killed has been seen never to return.
//! Such a thread is left behind; nobody waits for it.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, Thread};
use std::time::Duration;

use cpal::{BufferSize, Device, ErrorKind, HostId, Stream, StreamConfig};

use super::device::{self, DeviceError, Kind};

/// How long a new stream waits for the one before it to let go of the device.
const CLOSING: Duration = Duration::from_secs(1);

/// How long the sound system may take to make a stream, where cpal can tell it.
pub const BUILDING: Duration = Duration::from_secs(5);

/// Keeps a stream open; its thread closes it when this is dropped.
pub struct Hold {
    _sender: Sender<Infallible>,
}

/// Disconnects when a thread that held a stream has let go of the device.
pub struct Closed(Receiver<Infallible>);

/// A device that is being opened, and what our end of it will be. Dropping this gives up.
pub struct Opening<T>(Kind, Receiver<Result<T, DeviceError>>);

impl<T> Opening<T> {
    /// The outcome, once there is one.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<T, DeviceError>> {
        match self.1.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(DeviceError::System(
                self.0,
                "its library crashed".into(),
            ))),
        }
    }
}

/// Begins to open the device of that kind called `wanted` by id or name, or the default one of `host` or of
/// the first sound system that answers. `start` makes its stream and our end of it, which is given the
/// hold. `listener` is unparked when that has succeeded or failed. `before` is the stream to wait for
/// first.
///
/// # Errors
/// When no thread can be started.
pub fn open<T: Send + 'static>(
    kind: Kind,
    wanted: String,
    host: Option<HostId>,
    listener: Thread,
    before: Option<Closed>,
    start: impl FnOnce(&Device, Hold) -> Result<(Stream, T), DeviceError> + Send + 'static,
) -> io::Result<(Opening<T>, Closed)> {
    let (outcome, opening) = mpsc::channel();
    let (holding, closed) = mpsc::channel();
    thread::Builder::new()
        .name(kind.to_string())
        .spawn(move || {
            if let Some(Closed(before)) = before {
                // Disconnected or timed out: either way it is our turn.
                let _ = before.recv_timeout(CLOSING);
            }
            // ALSA writes to standard error about every device it cannot open, at every attempt.
            let alsa = alsa::Output::local_error_handler();
            let (hold, dropped) = mpsc::channel();
            match device::find(kind, &wanted, host)
                .and_then(|device| start(&device, Hold { _sender: hold }))
            {
                Ok((stream, it)) => {
                    if outcome.send(Ok(it)).is_ok() {
                        listener.unpark();
                        // Nothing is ever sent; this returns when the hold is dropped.
                        let _ = dropped.recv();
                    }
                    drop(stream);
                }
                Err(error) => {
                    if let Ok(alsa) = alsa {
                        log::debug!(alsa:% = alsa.borrow(); "no {kind}: {error}");
                    }
                    // Nobody may want to know any more.
                    let _ = outcome.send(Err(error));
                    listener.unpark();
                }
            }
            drop::<Sender<Infallible>>(holding);
        })?;
    Ok((Opening(kind, opening), Closed(closed)))
}

/// Builds a stream with so many milliseconds of sound per callback, or with as much as the device wants if
/// it does not do that.
///
/// # Errors
/// Those of `build`.
pub fn with_period<T>(
    mut config: StreamConfig,
    milliseconds: u32,
    build: impl Fn(StreamConfig) -> Result<T, cpal::Error>,
) -> Result<T, cpal::Error> {
    // Divided first, which loses nothing worth having and cannot overflow.
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
/// [`ErrorKind::UnsupportedConfig`] for samples that are no numbers in a row.
macro_rules! for_samples {
    ($format:expr, $function:ident) => {{
        use cpal::SampleFormat;
        match $format {
            SampleFormat::I8 => Ok($function::<i8> as fn(_, _, _, _) -> _),
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
pub(super) use for_samples;
