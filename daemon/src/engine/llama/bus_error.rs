//! SIGBUS: a mapped file of the model is shorter than when it was mapped.
//!
//! Nothing can go on then: any read of the weights may end the process. It ends as it would anyway, but says why first. The
//! next start looks at the files again, because they were in use ([`crate::engine::Probe`]).

use std::io;

use signal_hook::consts::SIGBUS;
use signal_hook::low_level;

/// The last words.
const WHY: &[u8] =
    b"gemmad: a file of the model was overwritten or cut short while it was in use, or its disk failed; gemmad ends\n";

/// Has the process tell why, when a page of a mapped file is not there any more.
///
/// # Errors
/// When the handler cannot be installed.
pub(super) fn tell() -> io::Result<()> {
    // SAFETY: the handler makes a system call and ends the process, both of which are async-signal-safe (signal-safety(7)).
    unsafe { low_level::register(SIGBUS, last_words) }.map(drop)
}

fn last_words() {
    // Nothing is left to be done about a failure.
    let _ = rustix::io::write(rustix::stdio::stderr(), WHY);
    let _ = low_level::emulate_default_handler(SIGBUS);
}
