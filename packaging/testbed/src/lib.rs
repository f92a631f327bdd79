//! Real stand-ins for a machine, for tests, the demo and the benchmarks.
//!
//! Nothing here imitates: the bus is a real `dbus-daemon`, microphone and loudspeaker are such as ALSA or
//! `PulseAudio` offer to every program, the words are spoken by espeak-ng, and the daemon is the built
//! `gemmad`. Everything is private to its owner (own sockets, own folders), so many can live side by
//! side, and is gone when its owner drops it.
//!
//! ```no_run
//! # async fn example() -> Result<(), gemmad_testbed::Error> {
//! use gemmad_testbed::{Bus, Daemon, Microphone, speech};
//!
//! let bus = Bus::start().await?;
//! let microphone = Microphone::alsa()?;
//! let daemon = Daemon::setup(&bus).microphone(&microphone).start().await?;
//! microphone.play(&speech::say("turn on the kitchen light", "en-us")?).await?;
//! # Ok(()) }
//! ```

mod bus;
mod daemon;
mod deaf;
mod error;
mod loudspeaker;
mod microphone;
pub mod nano;
mod process;
mod realtime;
pub mod speech;

pub use bus::Bus;
pub use daemon::{Binaries, Daemon, Model, Setup};
pub use deaf::Deaf;
pub use error::Error;
pub use loudspeaker::{Loudspeaker, RATE as LOUDSPEAKER_RATE};
pub use microphone::{Echo, Encoding, Microphone, no_microphone};
pub use rustix::process::Signal;
