//! What was said in the room: the conversation of the spoken turns. The time is given.
//!
//! Turns may overlap, because a person may speak before the assistant has finished. Each remembers for itself how far it has
//! come. A turn that begins recalls all that was said until then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::conversation::{Conversation, Exchange, TOKEN};
use crate::engine::{Message, ToolCall};
use crate::speak::Spoken;

/// Tokens of the protocol around an exchange, as a guess.
const AROUND: usize = 24;

/// The model's words where it called something and then was interrupted: no template ends a turn without words.
const DONE: &str = "Done.";

/// The conversation, and the exchanges that are under way.
#[derive(Debug, Default)]
pub struct Room {
    conversation: Conversation,
    under_way: BTreeMap<u64, Turn>,
    /// When the last turn ended.
    last: Option<Instant>,
    /// The assistant's last words.
    said: String,
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd)]
enum Progress {
    #[default]
    Begun,
    /// It is written to its end.
    Whole,
    /// It was heard to its end, or was not to be heard.
    Over,
}

/// A turn under way, as far as it has come.
#[derive(Debug, Default)]
struct Turn {
    asked: String,
    called: Vec<ToolCall>,
    answered: String,
    progress: Progress,
    is_foreign: bool,
    is_forgotten: bool,
    spoken: Spoken,
    /// Tokens of the whole exchange, once they were counted.
    tokens: Option<usize>,
}

impl Turn {
    /// The answer, as far as it was heard.
    fn heard(&self) -> String {
        if self.progress == Progress::Over {
            self.answered.clone()
        } else {
            self.spoken.words()
        }
    }

    /// The exchange with this answer; `None` if there is none yet.
    fn exchange(&self, mut answered: String) -> Option<Exchange> {
        if answered.trim().is_empty() && !self.called.is_empty() {
            answered = DONE.into();
        }
        let is_silent = self.asked.trim().is_empty() || answered.trim().is_empty();
        if is_silent || self.is_forgotten {
            return None;
        }
        let exchange = Exchange {
            asked: self.asked.clone(),
            called: self.called.clone(),
            is_personal: true,
            answered,
            is_foreign: self.is_foreign,
            tokens: 0,
        };
        let guess = || exchange.bytes() / TOKEN + AROUND;
        Some(Exchange {
            tokens: self.tokens.unwrap_or_else(guess),
            ..exchange
        })
    }
}

impl Room {
    /// What was said so far, with the turns under way.
    pub fn conversation(&self) -> Conversation {
        self.with(|turn| turn.exchange(turn.heard()))
    }

    /// What will have been said, if nobody interrupts the answers that are being spoken.
    pub fn foreseen(&self) -> Conversation {
        self.with(|turn| {
            let is_whole = turn.progress >= Progress::Whole;
            let answered = is_whole.then(|| turn.answered.clone());
            turn.exchange(answered?)
        })
    }

    fn with(&self, exchange: impl Fn(&Turn) -> Option<Exchange>) -> Conversation {
        let under_way = self.under_way.values().filter_map(exchange);
        under_way.fold(self.conversation.clone(), Conversation::with)
    }

    /// The assistant's last words; empty if there are none.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Forgets the oldest exchanges if there are more than `room` tokens.
    pub fn shorten(&mut self, room: usize) {
        self.conversation.shorten(room);
    }

    /// Forgets all that was said.
    pub fn forget(&mut self) {
        self.conversation = Conversation::default();
        self.said.clear();
        self.last = None;
        // A turn that was asked for that is not remembered either.
        for turn in self.under_way.values_mut() {
            turn.is_forgotten = true;
        }
    }

    /// When all is to be forgotten, if nobody speaks for as long as `quiet`; `None` while somebody does, or if nothing is
    /// remembered.
    pub fn forgets_at(&self, quiet: Duration) -> Option<Instant> {
        let last = self.last.filter(|_| self.under_way.is_empty())?;
        Some(last + quiet)
    }

    fn end(&mut self, utterance: u64, now: Instant) {
        let Some(turn) = self.under_way.remove(&utterance) else {
            return;
        };
        let said = turn.heard();
        if !said.is_empty() && !turn.is_forgotten {
            self.said.clone_from(&said);
        }
        if let Some(exchange) = turn.exchange(said) {
            self.conversation = std::mem::take(&mut self.conversation).with(exchange);
        }
        self.last = Some(now);
    }
}

/// The room, shared. Clones lead to the same one.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<Room>>);

impl Shared {
    /// The room. The lock is not to be held across an await.
    pub fn lock(&self) -> MutexGuard<'_, Room> {
        // No code panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the turn of an utterance.
    pub fn begin(&self, utterance: u64) -> Part {
        self.lock().under_way.insert(utterance, Turn::default());
        Part {
            room: self.clone(),
            utterance,
        }
    }
}

/// The part of one utterance's turn in the conversation. Dropping it ends that turn: it is remembered as far as it has come.
#[derive(Debug)]
pub struct Part {
    room: Shared,
    utterance: u64,
}

impl Part {
    /// This was asked.
    pub fn asked(&self, text: &str) {
        self.change(|turn| text.clone_into(&mut turn.asked));
    }

    /// These commands were given. `is_foreign`: the answer has words of an unknown author.
    pub fn called(&self, called: Vec<ToolCall>, is_foreign: bool) {
        self.change(|turn| {
            turn.called = called;
            turn.is_foreign |= is_foreign;
        });
    }

    /// The answer may repeat words of an unknown author.
    pub fn foreign(&self) {
        self.change(|turn| turn.is_foreign = true);
    }

    /// The answer is this. Until [`Self::over`] it counts as far as it was `spoken`.
    pub fn answers(&self, text: &str, spoken: &Spoken) {
        self.change(|turn| {
            text.clone_into(&mut turn.answered);
            turn.spoken = spoken.clone();
        });
    }

    /// The answer is written to its end.
    pub fn whole(&self) {
        self.change(|turn| turn.progress = Progress::Whole);
    }

    /// The messages so far; none if there is nothing to be remembered.
    pub fn messages(&self) -> Vec<Message> {
        let room = self.room.lock();
        let turn = room.under_way.get(&self.utterance);
        let exchange = turn.and_then(|turn| turn.exchange(turn.heard()));
        exchange.map_or_else(Vec::new, |it| it.messages(None).into())
    }

    /// They take so many tokens.
    pub fn takes(&self, tokens: usize) {
        self.change(|turn| turn.tokens = Some(tokens));
    }

    /// Nothing of it is to be remembered.
    pub fn forget(&self) {
        self.change(|turn| turn.is_forgotten = true);
    }

    /// The answer was heard to its end, or was not to be heard.
    pub fn over(&self) {
        self.change(|turn| turn.progress = Progress::Over);
    }

    fn change(&self, change: impl FnOnce(&mut Turn)) {
        self.room
            .lock()
            .under_way
            .get_mut(&self.utterance)
            .map(change);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.room.lock().end(self.utterance, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(room: &Shared) -> Vec<String> {
        let messages = room.lock().conversation().messages();
        messages.iter().map(|it| it.text().to_owned()).collect()
    }

    /// A turn with this answer, of which this was spoken.
    fn turn(room: &Shared, utterance: u64, asked: &str, answer: &str, spoken: &str) -> Part {
        let part = room.begin(utterance);
        part.asked(asked);
        let words = Spoken::default();
        part.answers(answer, &words);
        words.begin(spoken);
        part
    }

    fn call(result: &str) -> ToolCall {
        ToolCall {
            name: "look".into(),
            arguments: [].into(),
            result: Ok(result.into()),
        }
    }

    #[test]
    fn an_answer_is_remembered_as_far_as_it_was_heard() {
        let room = Shared::default();
        let whole = turn(&room, 1, "one?", "Yes. It is.", "Yes.");
        assert_eq!(texts(&room), ["one?", "Yes."]);
        whole.over();
        drop(whole);
        let cut = turn(&room, 2, "two?", "No. It is not.", "No.");
        // The next utterance begins while the answer is spoken.
        assert_eq!(texts(&room), ["one?", "Yes. It is.", "two?", "No."]);
        let next = room.begin(3);
        drop(cut);
        assert_eq!(texts(&room), ["one?", "Yes. It is.", "two?", "No."]);
        drop(next);
        assert_eq!(texts(&room).len(), 4, "nothing was said");
        let spoken = turn(&room, 4, "three?", "Who knows. Nobody.", "");
        assert_eq!(room.lock().foreseen().exchanges().len(), 2);
        spoken.whole();
        let foreseen = room.lock().foreseen().messages();
        assert_eq!(foreseen[5].text(), "Who knows. Nobody.");
        assert_eq!(texts(&room).len(), 4, "it was not heard yet");
        drop(spoken);
        assert_eq!(room.lock().said(), "No.");
    }

    #[test]
    fn commands_are_remembered_with_the_words_about_them_but_for_those_of_strangers() {
        let room = Shared::default();
        for (utterance, is_foreign) in [(1, false), (2, true)] {
            let part = turn(&room, utterance, "look", "A cat.", "A cat.");
            part.called(vec![call("ok")], is_foreign);
            part.over();
        }
        let room = room.lock();
        let called = |messages: &[Message]| {
            messages
                .iter()
                .filter(|it| it.bytes() > it.text().len())
                .count()
        };
        let said = room.conversation();
        let (all, trusted) = (said.messages(), said.trusted_messages());
        assert_eq!([called(&all), called(&trusted)], [2, 2]);
        assert_eq!([all[1].text(), all[3].text()], ["A cat.", "A cat."]);
        assert_eq!(trusted[1].text(), "A cat.");
        assert_ne!(trusted[3].text(), "A cat.");
    }

    #[test]
    fn what_was_done_is_remembered_even_if_nothing_was_said_about_it() {
        let room = Shared::default();
        let part = room.begin(1);
        part.asked("look");
        part.called(vec![call("ok")], false);
        drop(part);
        assert_eq!(texts(&room), ["look", DONE]);
    }

    #[test]
    fn all_is_forgotten_when_nobody_has_spoken_for_long_enough() {
        let room = Shared::default();
        let quiet = Duration::from_mins(1);
        assert_eq!(room.lock().forgets_at(quiet), None);
        let before = Instant::now();
        turn(&room, 1, "one?", "Yes.", "Yes.").over();
        let at = room.lock().forgets_at(quiet).unwrap();
        assert!(at >= before + quiet);
        let second = room.begin(2);
        assert_eq!(room.lock().forgets_at(quiet), None);
        drop(second);
        room.lock().forget();
        assert_eq!(room.lock().forgets_at(quiet), None);
        assert!(texts(&room).is_empty());
    }

    #[test]
    fn a_turn_that_was_under_way_when_all_was_forgotten_is_not_remembered() {
        let room = Shared::default();
        let part = turn(&room, 1, "forget it", "All right.", "");
        room.lock().forget();
        part.over();
        drop(part);
        assert!(texts(&room).is_empty());
    }
}
