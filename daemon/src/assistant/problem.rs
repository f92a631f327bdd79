//! What is wrong with hearing and speaking, as the status tells it.

use crate::platform::worker::Crash;

/// Why nothing, or no wake word, can be heard; empty: no problem.
#[derive(Default)]
pub struct Unheard {
    /// What happened to the voice thread.
    pub thread: String,
    /// Why there is no microphone.
    pub microphone: String,
    /// Why no words are waited for.
    pub words: String,
}

/// Why nothing can be said; empty: no problem.
#[derive(Default)]
pub struct Unspeakable {
    /// What happened to the mouth's thread.
    pub thread: String,
    /// Why there is no loudspeaker.
    pub loudspeaker: String,
    /// Why text does not become sound.
    pub synthesiser: String,
}

/// The problem of a thread that panicked.
pub fn failure(does: &str, crash: Crash) -> String {
    let then = match crash {
        Crash::Restarted => "it was restarted and should work again",
        Crash::GivenUp => "it fails repeatedly, so gemmad ends",
    };
    format!("the part of gemmad that {does} failed; {then}; see the journal")
}

/// Puts the first of these problems that is not empty into `shown`, and logs it if it is new; returns whether `shown`
/// changed.
pub fn show(shown: &mut String, problems: [&String; 3]) -> bool {
    let problem = problems.into_iter().find(|it| !it.is_empty());
    let problem = problem.cloned().unwrap_or_default();
    let is_new = *shown != problem;
    if is_new && !problem.is_empty() {
        log::warn!("{problem}");
    }
    *shown = problem;
    is_new
}
