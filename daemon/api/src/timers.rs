//! `org.gemmad1.Timers`: timers and alarms.

use serde::{Deserialize, Serialize};
use zbus::proxy;

use crate::{Dict, Error};

/// A timer in a list. On the bus an `a{sv}` with these names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimerInfo {
    /// Its number.
    pub id: u64,
    /// Its name; empty if it has none.
    pub name: String,
    /// Time until it rings, in ms.
    pub left_ms: u64,
    /// Whether it is an alarm, which follows the clock.
    pub alarm: bool,
}

/// The timers of the room. They belong to everybody who may talk to the daemon, outlast a restart, and ring within 31 days.
/// There are 128 at most.
#[proxy(
    interface = "org.gemmad1.Timers",
    default_service = "org.gemmad1",
    default_path = "/org/gemmad1/timers"
)]
pub trait Timers {
    /// The timers, the first to ring first; see [`TimerInfo`].
    fn list(&self) -> Result<Vec<Dict>, Error>;

    /// Sets a timer that rings after `seconds`, above 0; its `name` is at most 64 bytes of visible text, or empty. Returns
    /// its number.
    fn set(&self, name: &str, seconds: f64) -> Result<u64, Error>;

    /// Cancels a timer.
    fn cancel(&self, id: u64) -> Result<(), Error>;

    /// Cancels all timers, and returns their number.
    fn cancel_all(&self) -> Result<u32, Error>;

    /// A timer rings. `missed`: it should have rung more than half an hour ago, when the machine was off, so it makes no sound.
    #[zbus(signal)]
    fn rang(&self, id: u64, name: String, missed: bool) -> zbus::Result<()>;
}
