//! The daemon's interface to the operating system: the journal, signals,
//! thermal zones, files, programs and threads.

pub mod alarm;
pub mod descriptors;
pub mod end;
pub mod environment;
pub mod event;
pub mod expendable;
pub mod file;
pub mod logging;
pub mod memory;
pub mod program;
pub mod replace;
pub mod signals;
pub mod thermal;
pub mod withheld;
pub mod work;
pub(crate) mod worker;
