//! The attention of the listener: whether the microphone is wanted, and which speech becomes an utterance.
//!
//! No devices, no sound and no clock: every input carries its time, and its effects are returned.

use std::time::{Duration, Instant};

use super::barge_in::Guess;
use super::segmenter::Speaker;
use crate::config::{self, Mode};

/// Time for which the assistant's voice is still captured after it has left the loudspeaker: the path through the room,
/// its echo, and the buffers of the microphone.
const ECHO: Duration = Duration::from_millis(300);

/// The state of the listener's attention.
#[derive(Debug)]
pub struct Attention {
    rules: Rules,
    is_muted: bool,
    /// Whether push to talk was used. From then on the microphone stays open, because some devices are "busy" when they
    /// are opened again and again; sound that is not asked for is thrown away.
    is_pushed: bool,
    listening: Listening,
    /// Whether captured sound may hold the assistant's own voice.
    aloud: Aloud,
    /// Whether the echo of a loudspeaker can be cancelled.
    has_canceller: bool,
}

/// The keys of `[voice]` that rule it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    mode: Mode,
    /// Whether people may speak over the assistant.
    barge_in: bool,
    /// Longest wait for speech after push to talk and after the wake word.
    awake: Duration,
    /// Longest wait for speech after a reply.
    follow_up: Duration,
}

/// Whether speech becomes an utterance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listening {
    No,
    Yes,
    /// If it begins before then.
    Until(Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aloud {
    Not,
    Speaking,
    /// Sound captured before then may hold the assistant's voice.
    Until(Instant),
}

/// An event that changes the attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input {
    Mute(bool),
    Configure(Rules),
    /// Push to talk.
    Listen,
    /// A reply was given.
    FollowUp,
    Stop,
    /// The wake word was spoken.
    Wake,
    /// The assistant begins to speak.
    Speaking,
    /// The assistant has ended, or was interrupted.
    Silent,
    /// A loudspeaker whose echo can be cancelled was opened or closed.
    Canceller(bool),
    /// The microphone was opened.
    Opened,
    /// The microphone was lost.
    Lost,
    /// A guess whether a person speaks over the assistant.
    Guessed(Guess),
    /// The utterance being heard is over.
    Ended,
    /// Time has passed, up to the capture of the sound that comes next if the microphone gives some.
    Passed {
        /// Whether an utterance is being heard.
        is_heard: bool,
    },
}

/// A consequence for the stream of sound, the loudspeaker or the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Drops the utterance being heard, if there is one.
    Drop,
    /// Forgets the sound that was to become an utterance.
    Forget,
    /// The same, but for the last sound, which may be the beginning of one.
    ForgetAllButTail,
    /// Waits for this speaker's utterance.
    Await(Speaker),
    /// Lets no utterance begin, or lets one begin again.
    Bar(bool),
    /// A person seems to have begun to speak.
    Guess,
    /// Pauses the assistant, or lets it go on.
    Hold(bool),
    /// Reports whether the next speech becomes an utterance that was asked for.
    Awake(bool),
}

/// The destination of captured sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It may be, or become, part of an utterance.
    Utterance,
    /// It is background, by which the loudness of people is judged.
    Background,
    /// It may hold the assistant's own voice, so it is of no use.
    None,
}

impl From<&config::Voice> for Rules {
    fn from(voice: &config::Voice) -> Self {
        let milliseconds = |it: u32| Duration::from_millis(it.into());
        Self {
            mode: voice.mode,
            barge_in: voice.barge_in,
            awake: milliseconds(voice.awake_ms.get()),
            follow_up: milliseconds(voice.follow_up_ms.get()),
        }
    }
}

impl Rules {
    /// Whether speech becomes an utterance without being asked for.
    fn unasked(self) -> Listening {
        if self.mode == Mode::Always {
            Listening::Yes
        } else {
            Listening::No
        }
    }

    /// Whether an utterance after a reply needs no wake word.
    fn may_follow_up(self) -> bool {
        self.mode == Mode::Wake && !self.follow_up.is_zero()
    }
}

impl Attention {
    /// The attention of a listener that begins to hear.
    pub fn new(voice: &config::Voice, is_muted: bool) -> Self {
        let rules = Rules::from(voice);
        Self {
            rules,
            is_muted,
            is_pushed: false,
            listening: rules.unasked(),
            aloud: Aloud::Not,
            has_canceller: false,
        }
    }

    /// Takes an event that happened at `now`, and returns its consequences in order.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Mute(is_muted) => {
                self.is_muted = is_muted;
                self.is_pushed = false;
                self.stop(&mut effects);
            }
            Input::Stop => self.stop(&mut effects),
            Input::Configure(rules) => {
                effects.extend([Effect::Drop, self.barred()]);
                self.rules = rules;
                self.listen_no_more(&mut effects);
            }
            Input::Listen => self.push_to_talk(now, &mut effects),
            Input::FollowUp => {
                if !self.is_muted && self.rules.may_follow_up() {
                    let within = self.rules.follow_up;
                    self.awake(now, within, Speaker::Same, &mut effects);
                }
            }
            Input::Wake => {
                // The utterance is the speech after the word.
                effects.extend([Effect::Drop, Effect::ForgetAllButTail]);
                // The assistant is cut short now.
                self.fall_silent(now);
                self.awake(now, self.rules.awake, Speaker::Anybody, &mut effects);
            }
            Input::Speaking => {
                self.aloud = Aloud::Speaking;
                effects.extend([Effect::Drop, self.barred()]);
                if self.listening == Listening::No {
                    effects.push(Effect::Await(Speaker::Same));
                }
            }
            Input::Silent => {
                effects.push(Effect::Hold(false));
                self.fall_silent(now);
            }
            Input::Canceller(is_there) => {
                self.has_canceller = is_there;
                // Without it, no more of an utterance over the assistant is heard.
                if !is_there && self.aloud != Aloud::Not {
                    effects.push(Effect::Drop);
                }
            }
            Input::Opened => effects.push(self.barred()),
            Input::Lost => {
                effects.extend([Effect::Drop, Effect::Hold(false)]);
                if self.rules.mode == Mode::Wake {
                    self.listen_no_more(&mut effects);
                }
            }
            Input::Guessed(guess) => effects.extend(match guess {
                Guess::Somebody => [Effect::Guess, Effect::Hold(true)].as_slice(),
                Guess::Quiet => &[Effect::Bar(false)],
                Guess::Nobody => &[Effect::Bar(true), Effect::Hold(false)],
            }),
            Input::Ended => {
                if self.hears_one() {
                    effects.push(Effect::Forget);
                    self.listen_no_more(&mut effects);
                }
            }
            Input::Passed { is_heard } => self.pass(now, is_heard, &mut effects),
        }
        effects
    }

    /// Whether the microphone is to be open.
    pub fn wants_microphone(&self) -> bool {
        !self.is_muted
            && match self.rules.mode {
                Mode::Always | Mode::Wake => true,
                Mode::Push => self.is_pushed,
                Mode::Off => false,
            }
    }

    /// The destination of the sound captured now.
    pub fn use_of_sound(&self, is_heard: bool) -> Use {
        let is_asked = self.listening != Listening::No || is_heard || self.may_be_interrupted();
        if (self.aloud == Aloud::Not || self.is_cancelled()) && is_asked {
            Use::Utterance
        } else if self.aloud == Aloud::Not {
            Use::Background
        } else {
            Use::None
        }
    }

    /// Whether speech over the assistant may become an utterance.
    pub fn may_be_interrupted(&self) -> bool {
        self.aloud != Aloud::Not
            && self.is_cancelled()
            && (self.listening != Listening::No || self.rules.may_follow_up())
    }

    /// Whether the assistant is speaking and people can be heard over it.
    pub fn hears_over_speech(&self) -> bool {
        self.aloud == Aloud::Speaking && self.is_cancelled()
    }

    /// Whether the echo of the assistant is cancelled, as far as there is one.
    pub fn cancels_echo(&self) -> bool {
        self.rules.barge_in
    }

    /// Whether the utterance being heard is the only one that was asked for.
    pub fn hears_one(&self) -> bool {
        self.rules.mode != Mode::Always
    }

    /// When [`Input::Passed`] is due although no sound comes.
    pub fn deadline(&self) -> Option<Instant> {
        match self.listening {
            Listening::Until(end) => Some(end),
            Listening::No | Listening::Yes => None,
        }
    }

    fn push_to_talk(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let is_pushed = match self.rules.mode {
            Mode::Push | Mode::Wake => !self.is_muted,
            // Everything is heard anyway, or nothing.
            Mode::Always | Mode::Off => false,
        };
        if is_pushed {
            self.is_pushed = true;
            self.awake(now, self.rules.awake, Speaker::Anybody, effects);
        }
    }

    /// Waits for an utterance of `speaker` that begins within this time from `now`. That narrows no wait that is open.
    fn awake(
        &mut self,
        now: Instant,
        within: Duration,
        speaker: Speaker,
        effects: &mut Vec<Effect>,
    ) {
        let open = match self.listening {
            Listening::Until(end) if end > now => Some(end),
            _ => None,
        };
        let end = now + within;
        self.listening = Listening::Until(open.map_or(end, |it| it.max(end)));
        if open.is_none() || speaker == Speaker::Anybody {
            effects.push(Effect::Await(speaker));
        }
        effects.push(Effect::Awake(true));
    }

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        effects.extend([Effect::Drop, Effect::Hold(false), Effect::Forget]);
        self.listen_no_more(effects);
    }

    /// Stops waiting for an utterance; in mode `always`, returns to treating all speech as utterances.
    fn listen_no_more(&mut self, effects: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.listening, self.rules.unasked());
        if matches!(before, Listening::Until(_)) {
            effects.push(Effect::Awake(false));
        }
    }

    fn pass(&mut self, now: Instant, is_heard: bool, effects: &mut Vec<Effect>) {
        if matches!(self.aloud, Aloud::Until(end) if end <= now) {
            self.aloud = Aloud::Not;
            effects.push(self.barred());
        }
        if matches!(self.listening, Listening::Until(end) if end <= now && !is_heard) {
            self.listen_no_more(effects);
        }
    }

    fn fall_silent(&mut self, now: Instant) {
        // A wake word may have interrupted it already.
        if self.aloud == Aloud::Speaking {
            self.aloud = Aloud::Until(now + ECHO);
        }
    }

    /// Lets no utterance begin while the assistant's own voice may be heard.
    fn barred(&self) -> Effect {
        Effect::Bar(self.aloud != Aloud::Not)
    }

    /// Whether the assistant's voice is cancelled, so that people are heard over it.
    fn is_cancelled(&self) -> bool {
        self.rules.barge_in && self.has_canceller
    }
}

#[cfg(test)]
mod tests;
