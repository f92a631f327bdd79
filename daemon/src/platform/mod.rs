//! What the system gives a daemon: a journal to log to, a service manager to report to, signals,
//! thermometers, and processes and threads of its own.

pub mod descriptors;
pub mod end;
pub mod event;
pub mod group;
pub mod logging;
pub mod signals;
pub mod systemd;
pub mod thermal;
pub mod work;
