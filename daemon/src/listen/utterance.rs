//! An utterance while it is heard: one channel from the listener to its turn, and the sense of the words back.

use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::segmenter::Sense;

/// An utterance while it is heard. When this is dropped, the listener drops the utterance too.
#[derive(Debug)]
pub struct Utterance {
    /// Its number, from 1.
    pub number: u64,
    /// When the first sample of its speech was captured, or a little earlier.
    pub began: Instant,
    speech: UnboundedReceiver<Speech>,
}

/// A step of an utterance.
#[derive(Debug)]
pub enum Speech {
    /// More of it, 16 kHz mono; the first holds the pre-roll.
    Sound(Vec<f32>),
    /// It may be over. If so, all its sound has come.
    Paused(Pause),
    /// It goes on: more sound follows.
    Resumed,
    /// It is over, or has its maximum length. Its last sample of speech was captured then.
    Ended(Instant),
}

/// A pause that may be the end of an utterance.
#[derive(Debug)]
pub struct Pause {
    /// When the last sample of speech before it was captured.
    pub at: Instant,
    sense: oneshot::Sender<Sense>,
}

/// The listener's end of an utterance. Dropping it before [`Telling::end`] drops the utterance.
#[derive(Debug)]
pub struct Telling {
    speech: UnboundedSender<Speech>,
    /// Open during a pause.
    sense: Option<oneshot::Receiver<Sense>>,
}

impl Utterance {
    /// Its next step. After [`Speech::Ended`] there is none; `None` before it means that the listener has dropped the
    /// utterance, because it was told to, or has lost the microphone. Cancel safe.
    pub async fn next(&mut self) -> Option<Speech> {
        self.speech.recv().await
    }
}

impl Pause {
    /// Tells the listener whether the words before this pause are complete. It matters while the pause lasts.
    pub fn understand(self, sense: Sense) {
        // The pause may be over.
        let _ = self.sense.send(sense);
    }
}

impl Telling {
    /// Begins the utterance of this number, whose speech `began` at that time.
    pub fn begin(number: u64, began: Instant) -> (Self, Utterance) {
        let (sender, speech) = unbounded_channel();
        let telling = Self {
            speech: sender,
            sense: None,
        };
        (
            telling,
            Utterance {
                number,
                began,
                speech,
            },
        )
    }

    /// Whether the utterance was dropped at the other end.
    pub fn is_unwanted(&self) -> bool {
        self.speech.is_closed()
    }

    pub fn sound(&self, samples: Vec<f32>) {
        self.tell(Speech::Sound(samples));
    }

    /// Pauses; the last sample of speech was captured `at` that time.
    pub fn pause(&mut self, at: Instant) {
        let (sender, sense) = oneshot::channel();
        self.sense = Some(sense);
        self.tell(Speech::Paused(Pause { at, sense: sender }));
    }

    pub fn resume(&mut self) {
        self.sense = None;
        self.tell(Speech::Resumed);
    }

    /// Ends it; the last sample of speech was captured `at` that time.
    pub fn end(self, at: Instant) {
        self.tell(Speech::Ended(at));
    }

    /// The sense of the words before the present pause, once it is known.
    pub fn understood(&mut self) -> Option<Sense> {
        self.sense.as_mut()?.try_recv().ok()
    }

    fn tell(&self, speech: Speech) {
        // Told by `is_unwanted`.
        let _ = self.speech.send(speech);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pause(utterance: &mut Utterance) -> Pause {
        match utterance.next().await {
            Some(Speech::Paused(pause)) => pause,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_utterance_that_is_dropped_at_either_end_is_dropped_at_the_other() {
        let (telling, mut utterance) = Telling::begin(1, Instant::now());
        telling.sound(vec![0.5]);
        drop(telling);
        assert!(matches!(utterance.next().await, Some(Speech::Sound(_))));
        assert!(utterance.next().await.is_none());

        let (telling, utterance) = Telling::begin(2, Instant::now());
        assert!(!telling.is_unwanted());
        drop(utterance);
        assert!(telling.is_unwanted());
    }

    #[tokio::test]
    async fn the_sense_of_a_pause_does_not_reach_the_next_one() {
        let (mut telling, mut utterance) = Telling::begin(1, Instant::now());
        telling.pause(Instant::now());
        let first = pause(&mut utterance).await;
        telling.resume();
        telling.pause(Instant::now());
        first.understand(Sense::Complete);
        assert_eq!(telling.understood(), None);
        assert!(matches!(utterance.next().await, Some(Speech::Resumed)));
        let second = pause(&mut utterance).await;
        second.understand(Sense::Incomplete);
        assert_eq!(telling.understood(), Some(Sense::Incomplete));
    }
}
