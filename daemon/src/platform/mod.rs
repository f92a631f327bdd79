//! What the system gives a daemon: a journal to log to, a service manager to report to, signals,
//! thermometers, files, programs to run, and threads of its own.

pub mod descriptors;
pub mod end;
pub mod environment;
pub mod event;
pub mod file;
pub mod logging;
pub mod program;
pub mod signals;
pub mod systemd;
pub mod thermal;
pub mod withheld;
pub mod work;
