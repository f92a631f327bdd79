//! The last resort when the daemon does not end in order.

use std::sync::Once;
use std::thread;
use std::time::Duration;

/// How long an end in order may take. The units give 10 s (`TimeoutStopSec`), and then kill.
const LONGEST: Duration = Duration::from_secs(8);

/// How long the log may take to say that it did.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Lets the process live for 8 s more at most, whatever hangs. Further calls change nothing.
pub fn by_deadline() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let waited = thread::Builder::new().name("deadline".into()).spawn(|| {
            thread::sleep(LONGEST);
            // Whatever hangs may hold the log as well.
            drop(thread::Builder::new().spawn(|| {
                log::error!(
                    "the end took longer than {} s; it was cut short",
                    LONGEST.as_secs()
                );
            }));
            thread::sleep(LAST_WORDS);
            // No destructors of libraries, which may wait for threads that hang.
            signal_hook::low_level::exit(1);
        });
        if let Err(error) = waited {
            log::warn!("nobody watches how long the end takes: {error}");
        }
    });
}
