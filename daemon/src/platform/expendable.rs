//! A process that may die at any time, because another one waits for that.

use nix::sys::resource::{Resource, setrlimit};
use rustix::process::{Signal, set_parent_process_death_signal};

/// The file that says how soon a process is killed when memory runs out, and the value of the first.
const FIRST: (&str, &str) = ("/proc/self/oom_score_adj", "1000");

/// Binds this process to its parent, has it killed first when memory runs out, and has it leave no core: that would hold
/// gigabytes.
pub fn declare() {
    let bound = set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from);
    let first = std::fs::write(FIRST.0, FIRST.1);
    let coreless = setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(std::io::Error::from);
    for outcome in [bound, first, coreless] {
        if let Err(error) = outcome {
            log::debug!("this process is less expendable than it could be: {error}");
        }
    }
}
