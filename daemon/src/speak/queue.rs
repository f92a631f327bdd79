//! The speeches on their way to the loudspeaker. The first one sounds.
//!
//! Answers go before wishes: a wish under way gives way at the end of its sentence. Only the first speech and the one
//! behind it are synthesised, so the others cost no program and no sound.

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot, watch};

use super::error::SpeechError;
use super::spoken::Spoken;

/// The kind of a speech, and on whose behalf it is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An answer of the assistant to an utterance.
    Answer,
    /// A text that a client wants said.
    Wish,
    /// A short sound without words.
    Earcon,
}

/// A part of a speech.
#[derive(Debug)]
pub enum Piece {
    /// A sentence of these words begins.
    Sentence(String),
    /// More of its sound.
    Sound(Sound),
}

/// A piece of sound.
#[derive(Debug)]
pub struct Sound {
    /// Frames a second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
    /// The samples, interleaved.
    pub samples: Vec<f32>,
}

/// One speech.
pub struct Speech {
    /// Its number.
    pub id: u64,
    /// Its kind.
    pub kind: Kind,
    /// Factor of its samples.
    pub volume: f32,
    /// Its parts, as they come.
    pub pieces: mpsc::Receiver<Piece>,
    /// Gets its sentences as they begin to be played.
    pub spoken: Spoken,
    /// Whether it may be synthesised now.
    pub turn: watch::Sender<bool>,
    /// Gets `Ok` when its last sample was heard, or the reason why it was not.
    pub done: oneshot::Sender<Result<(), SpeechError>>,
    /// Whether all its sound was written to the loudspeaker.
    pub is_written: bool,
}

impl Speech {
    /// Tells its outcome.
    pub fn end(self, outcome: Result<(), SpeechError>) {
        // The receiver may be gone.
        let _ = self.done.send(outcome);
    }
}

/// The speeches, the first of which sounds.
#[derive(Default)]
pub struct Queue(VecDeque<Speech>);

impl Queue {
    /// Whether nothing is to be played.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether words are to be played.
    pub fn has_words(&self) -> bool {
        self.0.iter().any(|it| it.kind != Kind::Earcon)
    }

    /// The speech that sounds.
    pub fn first(&mut self) -> Option<&mut Speech> {
        self.0.front_mut()
    }

    /// Puts a speech behind those that go before it: a wish behind all, others behind the first and their like.
    pub fn push(&mut self, speech: Speech) {
        let place = match speech.kind {
            Kind::Wish => self.0.len(),
            Kind::Answer | Kind::Earcon => self.behind_urgent(1),
        };
        self.0.insert(place, speech);
        self.give_turns();
    }

    /// Lets the first speech, a wish between two sentences, wait for more urgent ones; returns whether there are any.
    pub fn give_way(&mut self) -> bool {
        let place = self.behind_urgent(1);
        if place <= 1 || !self.0.front().is_some_and(|it| it.kind == Kind::Wish) {
            return false;
        }
        self.0.make_contiguous()[..place].rotate_left(1);
        self.give_turns();
        true
    }

    /// Takes out the first speech.
    pub fn pop(&mut self) -> Option<Speech> {
        let speech = self.0.pop_front();
        self.give_turns();
        speech
    }

    /// Takes out speech `id`, or all.
    pub fn take(&mut self, id: Option<u64>) -> Vec<Speech> {
        let is_meant = |speech: &Speech| id.is_none_or(|id| id == speech.id);
        let (taken, left) = std::mem::take(&mut self.0)
            .into_iter()
            .partition::<VecDeque<_>, _>(is_meant);
        self.0 = left;
        self.give_turns();
        taken.into()
    }

    /// The first place from `from` on where a wish stands, or the end.
    fn behind_urgent(&self, from: usize) -> usize {
        let urgent = self
            .0
            .iter()
            .skip(from)
            .take_while(|it| it.kind != Kind::Wish);
        (from + urgent.count()).min(self.0.len())
    }

    /// Lets the first speech be synthesised, and the one behind it. An answer behind an answer waits. Otherwise there
    /// might be four programs at once, two of them for wishes that an answer overtook in the middle of a sentence.
    fn give_turns(&self) {
        let mut before = None;
        for (place, speech) in self.0.iter().enumerate() {
            let is_doubled = (before, speech.kind) == (Some(Kind::Answer), Kind::Answer);
            let has_turn = place == 0 || place == 1 && !is_doubled;
            speech
                .turn
                .send_if_modified(|it| std::mem::replace(it, has_turn) != has_turn);
            before = Some(speech.kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech(id: u64, kind: Kind) -> Speech {
        Speech {
            id,
            kind,
            volume: 1.0,
            pieces: mpsc::channel(1).1,
            spoken: Spoken::default(),
            turn: watch::Sender::new(false),
            done: oneshot::channel().0,
            is_written: false,
        }
    }

    fn queue(kinds: &[Kind]) -> Queue {
        let mut queue = Queue::default();
        for (id, kind) in (1..).zip(kinds) {
            queue.push(speech(id, *kind));
        }
        queue
    }

    fn order(queue: &Queue) -> Vec<u64> {
        queue.0.iter().map(|it| it.id).collect()
    }

    fn turns(queue: &Queue) -> Vec<u64> {
        let with_turn = queue.0.iter().filter(|it| *it.turn.borrow());
        with_turn.map(|it| it.id).collect()
    }

    use Kind::{Answer, Earcon, Wish};

    #[test]
    fn an_answer_goes_before_all_wishes_but_the_one_that_sounds() {
        assert_eq!(order(&queue(&[Wish, Wish, Wish])), [1, 2, 3]);
        assert_eq!(
            order(&queue(&[Wish, Wish, Answer, Wish, Earcon])),
            [1, 3, 5, 2, 4]
        );
        assert_eq!(order(&queue(&[Answer, Wish, Answer])), [1, 3, 2]);
    }

    #[test]
    fn a_wish_gives_way_to_an_answer_between_two_sentences_and_goes_on_behind_it() {
        let mut queue = queue(&[Wish, Wish]);
        assert!(!queue.give_way());
        queue.push(speech(3, Answer));
        queue.push(speech(4, Answer));
        assert!(queue.give_way());
        assert_eq!(order(&queue), [3, 4, 1, 2]);
        // An answer gives way to nothing.
        assert!(!queue.give_way());
        assert_eq!(queue.pop().map(|it| it.id), Some(3));
        assert_eq!(queue.pop().map(|it| it.id), Some(4));
        assert_eq!(order(&queue), [1, 2]);
    }

    #[test]
    fn of_many_speeches_two_are_synthesised_and_the_turn_moves_on() {
        let mut queue = queue(&[Wish; 30]);
        assert_eq!(turns(&queue), [1, 2]);
        queue.pop();
        assert_eq!(turns(&queue), [2, 3]);
        queue.take(Some(2));
        assert_eq!(turns(&queue), [3, 4]);
        queue.take(None);
        assert!(queue.is_empty());
    }

    #[test]
    fn with_those_that_were_overtaken_three_programs_run_at_most() {
        let mut queue = queue(&[Wish, Wish, Wish]);
        // Those that have begun a sentence finish it.
        let mut running: std::collections::BTreeSet<u64> = turns(&queue).into_iter().collect();
        for id in [10, 11, 12] {
            queue.push(speech(id, Answer));
            running.extend(turns(&queue));
            queue.give_way();
            running.extend(turns(&queue));
        }
        assert!(running.len() <= 3, "{running:?}");
    }
}
