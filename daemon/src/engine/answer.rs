//! An answer as it grows, and the outlet the engine writes it to.

use std::collections::VecDeque;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::{EngineError, Piece, Stats};

/// An event of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The next piece of text.
    Text(Piece),
    /// The end.
    Done(Stats),
    /// The request failed; the text before it stands.
    Failed(EngineError),
}

/// An answer as it grows. Dropping it cancels the request.
#[derive(Debug)]
pub struct Answer {
    /// Number of the request.
    pub id: u64,
    events: UnboundedReceiver<Event>,
    /// Events that [`Answer::foresee`] received and [`Answer::next`] has not returned yet.
    foreseen: VecDeque<Event>,
}

impl Answer {
    /// The answer to request number `id`, and the outlet it is written to.
    pub(super) fn new(id: u64) -> (Outlet, Self) {
        let (sender, events) = mpsc::unbounded_channel();
        let answer = Self {
            id,
            events,
            foreseen: VecDeque::new(),
        };
        (Outlet(Some(sender)), answer)
    }

    /// The next event. [`Event::Done`] or [`Event::Failed`] is the last one.
    pub async fn next(&mut self) -> Event {
        match self.foreseen.pop_front() {
            Some(event) => event,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Event {
        let event = self.events.recv().await;
        // An outlet always writes an end, so the channel closes only after it.
        event.unwrap_or(Event::Failed(EngineError::Stopping))
    }

    /// Waits for the end without consuming events: the whole text, or `None` if the request fails. Cancel safe.
    pub async fn foresee(&mut self) -> Option<String> {
        loop {
            match self.foreseen.back() {
                Some(Event::Done(_)) => {
                    let pieces = self.foreseen.iter().filter_map(|event| match event {
                        Event::Text(piece) => Some(piece.text.as_str()),
                        Event::Done(_) | Event::Failed(_) => None,
                    });
                    return Some(pieces.collect());
                }
                Some(Event::Failed(_)) => return None,
                _ => {
                    let event = self.receive().await;
                    self.foreseen.push_back(event);
                }
            }
        }
    }

    /// Waits for the end and returns the whole text with its statistics.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn text(self) -> Result<(String, Stats), EngineError> {
        self.follow(|_| {}).await
    }

    /// Like [`Answer::text`], and calls `watch` with the text so far whenever it has grown.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn follow(
        mut self,
        mut watch: impl FnMut(&str),
    ) -> Result<(String, Stats), EngineError> {
        let mut whole = Whole::default();
        loop {
            if let Some(end) = whole.take(self.next().await) {
                return end;
            }
            watch(&whole.0);
        }
    }
}

/// The text of an answer, from its events.
#[derive(Debug, Default)]
pub struct Whole(String);

impl Whole {
    /// Takes the next event. Returns the whole text with its statistics, or the failure, after the last.
    pub fn take(&mut self, event: Event) -> Option<Result<(String, Stats), EngineError>> {
        let text = &mut self.0;
        match event {
            Event::Text(piece) => {
                text.push_str(&piece.text);
                None
            }
            Event::Done(stats) => Some(Ok((std::mem::take(text), stats))),
            // An incomplete answer's text is returned with the error.
            Event::Failed(EngineError::Incomplete { .. }) => {
                let so_far = std::mem::take(text).into();
                Some(Err(EngineError::Incomplete { so_far }))
            }
            Event::Failed(error) => Some(Err(error)),
        }
    }
}

/// The engine's end of an answer. It always writes an end, even if the engine thread dies.
#[derive(Debug)]
pub(super) struct Outlet(Option<UnboundedSender<Event>>);

impl Outlet {
    /// Whether the answer has been dropped.
    pub(super) fn is_closed(&self) -> bool {
        self.0.as_ref().is_none_or(UnboundedSender::is_closed)
    }

    /// Writes the next piece.
    pub(super) fn write(&self, piece: Piece) {
        if let Some(events) = &self.0 {
            // A dropped answer shows in `is_closed`.
            let _ = events.send(Event::Text(piece));
        }
    }

    /// Writes the end.
    pub(super) fn end(mut self, event: Event) {
        self.finish(event);
    }

    fn finish(&mut self, event: Event) {
        if let Some(events) = self.0.take() {
            let _ = events.send(event);
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let error = if std::thread::panicking() {
            EngineError::Crashed
        } else {
            EngineError::Stopping
        };
        self.finish(Event::Failed(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(mut answer: Answer) -> Event {
        let first = answer.events.try_recv().unwrap();
        assert!(answer.events.try_recv().is_err());
        first
    }

    #[test]
    fn an_answer_ends_once_however_it_ends() {
        let (outlet, answer) = Answer::new(1);
        outlet.end(Event::Done(Stats::default()));
        assert_eq!(end_of(answer), Event::Done(Stats::default()));

        let (outlet, answer) = Answer::new(2);
        drop(outlet);
        assert_eq!(end_of(answer), Event::Failed(EngineError::Stopping));

        let (outlet, answer) = Answer::new(3);
        let dying = std::thread::spawn(move || {
            let _outlet = outlet;
            std::panic::resume_unwind(Box::new("a fault"));
        });
        dying.join().unwrap_err();
        assert_eq!(end_of(answer), Event::Failed(EngineError::Crashed));
    }
}
