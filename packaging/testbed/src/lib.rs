//! Stand-ins for a machine's devices and services, for tests, the demo and the benchmarks.
//!
//! All of them are real: the bus is a `dbus-daemon`, microphone and loudspeaker are devices that ALSA or
//! `PulseAudio` offer to every program, speech comes from espeak-ng, and the daemon is the built
//! `gemmad`. Each stand-in has its own sockets and folders, so that many can run side by side, and is
//! removed when its owner drops it.
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

mod binaries;
mod bus;
mod daemon;
mod deaf;
mod echo;
mod error;
mod loudspeaker;
mod microphone;
mod model;
pub mod nano;
mod process;
mod realtime;
pub mod speech;
mod variables;

pub use binaries::Binaries;
pub use bus::Bus;
pub use daemon::{Daemon, Setup};
pub use deaf::Deaf;
pub use echo::Echo;
pub use error::Error;
pub use loudspeaker::{Loudspeaker, RATE as LOUDSPEAKER_RATE};
pub use microphone::{Encoding, Microphone, no_microphone};
pub use model::Model;
pub use rustix::process::Signal;
