//! The handle of a turn that is being spoken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::answer::Outlet;
use super::lease::Lease;
use super::prompt::stretches::Bounds;
use super::requests::Requests;
use super::{Answer, EngineError, Preamble, Priority, Request, prompt};
use crate::engine::llama::model::Token;
use crate::engine::schedule::hearing::{TurnId, duration_of_rows};
use crate::engine::schedule::places::Place;
use crate::engine::schedule::scheduler::Work;
use crate::engine::schedule::sequence::Job;
use crate::platform::work::Panicked;

/// A turn that is being spoken; its sound is computed as it is heard. Dropping it forgets the sound; answers
/// already asked for are still generated.
#[derive(Debug)]
pub struct Turn {
    pub(super) id: TurnId,
    pub(super) preamble: Preamble,
    pub(super) before: Vec<Token>,
    pub(super) ready: Lease,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) requests: Requests,
    pub(super) place: Arc<Place>,
    pub(super) backlog: Arc<AtomicUsize>,
}

impl Turn {
    /// Appends samples: 16 kHz, mono, in -1..1, any number of them.
    pub fn push(&self, samples: Vec<f32>) {
        let turn = self.id;
        self.send(Work::Sound { turn, samples });
    }

    /// Length of the sound that was heard but is not in the KV cache yet.
    #[must_use]
    pub fn backlog(&self) -> Duration {
        duration_of_rows(self.backlog.load(Ordering::Relaxed))
    }

    /// Asks about the turn as if it ended here; more sound may still be pushed. The requests' own preambles and
    /// clips are ignored, because the turn has both. The answers begin together.
    ///
    /// # Errors
    /// When the template refuses, or makes the beginning of the turn depend on the request, or a form cannot be
    /// followed.
    pub async fn ask(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<Vec<Answer>, EngineError> {
        let asked = Asked {
            ready: self.ready.clone(),
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
        // Not through `platform::work`, where speech would queue behind the texts of questions.
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
        // If the engine thread is gone, dropping the unsent work ends its answers.
        let _ = self.work.send(work);
    }
}

/// The parts of a turn that preparing a request about it needs.
struct Asked {
    ready: Lease,
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
        let around = prompt::around_sound(&self.ready.model, &request, Bounds::NONE)?;
        if around.before != self.before {
            return Err(EngineError::Deaf(
                "in its chat template, the start of a turn depends on how the turn ends".into(),
            ));
        }
        let grammar = self.ready.grammar(request.form.as_ref())?;
        let place = Arc::clone(&self.place);
        let priority = Priority::Speech;
        Requests::job(
            &request,
            grammar.as_ref(),
            around.after,
            priority,
            place,
            outlet,
        )
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.send(Work::Close(self.id));
    }
}
