//! The last resort when an orderly shutdown hangs.

use std::sync::Once;
use std::thread;
use std::time::Duration;

/// Longest orderly shutdown. The units kill the daemon after 10 s (`TimeoutStopSec`).
const LONGEST: Duration = Duration::from_secs(8);

/// Time for the log to report the forced end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Ends the process in 8.5 s at the latest, whatever hangs: the deadline, and the time for the log. Further calls have
/// no effect.
pub fn by_deadline() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let waited = thread::Builder::new().name("deadline".into()).spawn(|| {
            thread::sleep(LONGEST);
            // A thread that hangs may hold the log as well, so another thread writes to it.
            drop(thread::Builder::new().spawn(|| {
                log::error!(
                    "the shutdown took longer than {} s and was forced",
                    LONGEST.as_secs()
                );
            }));
            thread::sleep(LAST_WORDS);
            // Runs no destructors of libraries, which may wait for threads that hang.
            signal_hook::low_level::exit(1);
        });
        if let Err(error) = waited {
            log::warn!("the shutdown has no deadline: {error}");
        }
    });
}
