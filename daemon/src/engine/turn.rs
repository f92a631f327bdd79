//! A turn that is being spoken, as those see it who hear the person.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::hearing::{TurnId, duration_of_rows};
use super::model::Model;
use super::places::Place;
use super::scheduler::Work;
use super::{Answer, EngineError, Preamble, Priority, Request, Requests, prompt};

/// A turn that is being spoken. It is computed as it is heard. Dropping it forgets what was heard;
/// answers that were asked for are made all the same.
#[derive(Debug)]
pub struct Turn {
    pub(super) id: TurnId,
    pub(super) preamble: Preamble,
    pub(super) before: Vec<super::model::Token>,
    pub(super) model: Arc<Model>,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) requests: Requests,
    pub(super) place: Arc<Place>,
    pub(super) backlog: Arc<AtomicUsize>,
}

impl Turn {
    /// Hears samples: 16 kHz, mono, in -1..1, as many as there are.
    pub fn push(&self, samples: Vec<f32>) {
        let turn = self.id;
        self.send(Work::Sound { turn, samples });
    }

    /// Sound that was heard and is not computed yet.
    #[must_use]
    pub fn backlog(&self) -> Duration {
        duration_of_rows(self.backlog.load(Ordering::Relaxed))
    }

    /// Asks about the turn as if it ended here; it can go on all the same. What the requests say of a
    /// preamble and of sound does not count: the turn has both. The answers begin together.
    ///
    /// # Errors
    /// When the template refuses, or makes the beginning of the turn depend on the request.
    pub fn ask(&self, requests: &[Request]) -> Result<Vec<Answer>, EngineError> {
        let (mut jobs, mut answers) = (Vec::new(), Vec::new());
        for request in requests {
            let request = Request {
                preamble: self.preamble.clone(),
                ..request.clone()
            };
            let around = prompt::around_sound(&self.model, &request)?;
            if around.before != self.before {
                return Err(EngineError::Deaf(
                    "its chat template begins a turn by how it ends".into(),
                ));
            }
            let place = Arc::clone(&self.place);
            let (job, answer) =
                self.requests
                    .job(&request, around.after, Priority::Speech, place)?;
            jobs.push(job);
            answers.push(answer);
        }
        self.send(Work::Ask {
            turn: self.id,
            jobs,
        });
        Ok(answers)
    }

    fn send(&self, work: Work) {
        // An engine that is gone ends the answers it owes.
        let _ = self.work.send(work);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.send(Work::Close(self.id));
    }
}
