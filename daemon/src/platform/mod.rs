//! What the system gives a daemon: a journal to log to, signals that say stop.

pub mod logging;
pub mod signals;
pub mod thermal;
