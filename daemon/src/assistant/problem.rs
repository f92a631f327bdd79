//! What is wrong with hearing and speaking, as the status tells it.

use crate::platform::worker::Crash;

/// Why nothing, or no wake word, can be heard.
#[derive(Default)]
pub struct Unheard {
    /// What happened to the voice thread.
    pub thread: Option<String>,
    /// Why there is no microphone.
    pub microphone: Option<String>,
    /// Why no words are waited for.
    pub words: Option<String>,
}

/// Why nothing can be said.
#[derive(Default)]
pub struct Unspeakable {
    /// What happened to the mouth's thread.
    pub thread: Option<String>,
    /// Why there is no loudspeaker.
    pub loudspeaker: Option<String>,
    /// Why text does not become sound.
    pub synthesiser: Option<String>,
}

/// The problem of a thread that panicked.
pub fn failure(does: &str, crash: Crash) -> String {
    let then = match crash {
        Crash::Restarted => "it was restarted and should work again",
        Crash::GivenUp => "it fails repeatedly, so gemmad ends",
    };
    format!("the part of gemmad that {does} failed; {then}; see the journal")
}

/// Puts the first of these problems into `shown`, and logs it if it is new; returns whether `shown` changed.
pub fn show(shown: &mut Option<String>, problems: [&Option<String>; 3]) -> bool {
    let problem = problems.into_iter().find_map(Clone::clone);
    let is_new = *shown != problem;
    if is_new && let Some(problem) = &problem {
        log::warn!("{problem}");
    }
    *shown = problem;
    is_new
}
