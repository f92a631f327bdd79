//! A turn that is being spoken, as those see it who hear the person.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::answer::Outlet;
use super::hearing::{TurnId, duration_of_rows};
use super::model::{Model, Token};
use super::places::Place;
use super::scheduler::Work;
use super::sequence::Job;
use super::{Answer, EngineError, Preamble, Priority, Request, Requests, prompt};
use crate::platform::work::Panicked;

/// A turn that is being spoken. It is computed as it is heard. Dropping it forgets what was heard;
/// answers that were asked for are made all the same.
#[derive(Debug)]
pub struct Turn {
    pub(super) id: TurnId,
    pub(super) preamble: Preamble,
    pub(super) before: Vec<Token>,
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
    pub async fn ask(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<Vec<Answer>, EngineError> {
        let asked = Asked {
            model: Arc::clone(&self.model),
            preamble: self.preamble.clone(),
            before: self.before.clone(),
            place: Arc::clone(&self.place),
        };
        let (mut asked_for, mut answers) = (Vec::new(), Vec::new());
        for request in requests {
            let id = self.requests.next();
            let (outlet, answer) = Answer::new(id);
            asked_for.push((request, (id, outlet)));
            answers.push(answer);
        }
        // Speech does not queue behind the texts of questions in `work`.
        let jobs = tokio::task::spawn_blocking(move || {
            let jobs = asked_for.into_iter();
            let jobs = jobs.map(|(request, outlet)| asked.job(request, outlet));
            jobs.collect::<Result<Vec<_>, EngineError>>()
        });
        let jobs = jobs.await.map_err(|_| Panicked)??;
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

/// What a question about a turn is prepared with.
struct Asked {
    model: Arc<Model>,
    preamble: Preamble,
    before: Vec<Token>,
    place: Arc<Place>,
}

impl Asked {
    fn job(&self, request: Request, outlet: (u64, Outlet)) -> Result<Job, EngineError> {
        let request = Request {
            preamble: self.preamble.clone(),
            ..request
        };
        let around = prompt::around_sound(&self.model, &request, &|| true)?;
        if around.before != self.before {
            return Err(EngineError::Deaf(
                "its chat template begins a turn by how it ends".into(),
            ));
        }
        let place = Arc::clone(&self.place);
        Requests::job(&request, around.after, Priority::Speech, place, outlet)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.send(Work::Close(self.id));
    }
}
