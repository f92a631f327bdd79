//! Timers and alarms. They outlast a restart, of the daemon and of the machine.
//!
//! | file | owns |
//! |---|---|
//! | `book` | which timers there are, and which ring: pure steps |
//! | `moment` | a moment, by both clocks |
//! | `handle` | the handle of timers, and the task that lets them ring |
//! | `words` | times as people say them |

mod book;
mod handle;
mod moment;
mod words;

pub use book::{Due, MOST, Rung, Timer, TimerError, is_name};
pub use handle::Timers;
pub use moment::Moment;
pub use words::{clock, length};
