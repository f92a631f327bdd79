//! The handle of commands: the catalogue in force, and the commands that are asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};

use super::arrival::Arrival;
use super::catalogue::Catalogue;
use super::consent::Consent;
use super::dialogue::Dialogue;
use super::error::{CatalogueError, CommandError};
use super::event::Event;
use super::executor::Executor;
use super::force::{Force, Scope};
use super::invocation::{Invocation, Origin};
use super::reading::Reading;
use super::talk::Talk;
use super::timers::Timers;
use crate::config::{self, Settings};
use crate::engine::{Engine, EngineError, Kept, Limits, Passage, Question, Request, Stats};
use crate::platform::environment::Environment;

/// Longest wait for actions at the daemon's end. It covers running actions, which are killed half a second after they
/// were told to end, and the actions of commands that halt.
const LAST_ACTIONS: Duration = Duration::from_secs(4);

/// The handle of commands. Clones share the same state.
#[derive(Debug, Clone)]
pub struct Commands {
    settings: Settings,
    engine: Engine,
    force: watch::Sender<Option<Arc<Force>>>,
    executor: Arc<Executor>,
}

impl Commands {
    /// Reads the catalogue that `settings` name. Programs of actions get the variables of `environment`. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the catalogue is not valid.
    pub fn start(
        settings: Settings,
        engine: Engine,
        environment: Environment,
        timers: Timers,
        talk: Arc<dyn Talk>,
    ) -> Result<Self, CatalogueError> {
        let catalogue = Self::read(&settings.current().commands)?;
        let commands = Self {
            executor: Executor::start(settings.clone(), environment, timers, talk),
            settings,
            engine,
            force: watch::Sender::new(None),
        };
        commands.put(catalogue);
        Ok(commands)
    }

    /// Reads the catalogue of a configuration; `None` when commands are switched off.
    ///
    /// # Errors
    /// When the catalogue is not valid.
    pub fn read(config: &config::Commands) -> Result<Option<Catalogue>, CatalogueError> {
        let folders = config.enabled.then_some(&config.folders);
        folders.map(|it| Catalogue::load(it)).transpose()
    }

    /// Puts `catalogue` into force, with the settings as they are now.
    pub fn put(&self, catalogue: Option<Catalogue>) {
        let config = self.settings.current();
        let force = catalogue.map(|it| Arc::new(Force::new(it, &config.commands)));
        let form = force.as_ref().map(|it| it.form(Scope::All));
        self.engine.compile_ahead(form);
        self.executor.put(force.clone());
        self.force.send_if_modified(|now| {
            let is_off = now.is_none() && force.is_none();
            *now = force;
            !is_off
        });
        tokio::spawn(self.clone().prepare());
    }

    /// Whether this catalogue is in force already.
    #[must_use]
    pub fn has(&self, catalogue: Option<&Catalogue>) -> bool {
        self.force().as_ref().map(|it| &it.catalogue) == catalogue
    }

    /// The catalogue in force; `None` when commands are switched off.
    #[must_use]
    pub fn force(&self) -> Option<Arc<Force>> {
        self.force.borrow().clone()
    }

    /// Changes whenever another catalogue, or none, is in force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Option<Arc<Force>>> {
        self.force.subscribe()
    }

    /// The events from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.executor.events()
    }

    /// The arrival of a request that comes, or of an utterance whose speech began, `at` this time. A halt after this
    /// moment applies to every command that follows from it.
    #[must_use]
    pub fn arrival(&self, at: Instant) -> Arrival {
        self.executor.arrival(at)
    }

    /// Checks that `text` is short enough for [`Self::invoke`].
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`].
    pub fn measure(&self, text: &str) -> Result<(), CommandError> {
        let limits = Limits::new(&self.settings.current().engine);
        Ok(limits.check_prompt(text.len())?)
    }

    /// Has the model interpret `text`, and carries out the commands unless this is a `dry_run`. The statistics are
    /// those of the model's first answer.
    ///
    /// # Errors
    /// When commands are switched off, the engine fails, the model's answer is not valid, or too many commands run.
    pub async fn invoke(
        &self,
        text: String,
        origin: &Origin,
        arrival: Arrival,
        dry_run: bool,
    ) -> Result<(Reading, Stats), CommandError> {
        let force = self.force().ok_or(CommandError::Off)?;
        let mut dialogue = self.begin(&force, origin, arrival, dry_run);
        let mut first = None;
        loop {
            let request = dialogue.request(Question::Text(text.clone()));
            let asked = self.ask(request).await;
            let answer = asked.map(|(answer, stats)| {
                first.get_or_insert(stats);
                answer
            });
            if let Some(reading) = dialogue.follow(answer).await? {
                return Ok((reading, first.unwrap_or_default()));
            }
        }
    }

    /// What the model would read of `text`.
    ///
    /// # Errors
    /// When commands are switched off, the engine is busy, or there is no model.
    pub async fn render(&self, text: String) -> Result<Vec<Passage>, CommandError> {
        let force = self.force().ok_or(CommandError::Off)?;
        let config = self.settings.current();
        let request = force.request(&config.answer, Question::Text(text), Scope::All);
        Ok(self.engine.render_at(self.engine.admit()?, request).await?)
    }

    async fn ask(&self, request: Request) -> Result<(String, Stats), EngineError> {
        self.engine.submit(request).await?.text().await
    }

    /// Begins the dialogue about a request or an utterance that arrived at `arrival`, by this catalogue.
    #[must_use]
    pub fn begin(
        &self,
        force: &Arc<Force>,
        origin: &Origin,
        arrival: Arrival,
        dry_run: bool,
    ) -> Dialogue {
        Dialogue::new(
            self.settings.current(),
            Arc::clone(&self.executor),
            Arc::clone(force),
            origin.clone(),
            arrival,
            dry_run,
        )
    }

    /// Carries out the command that waits under this number, and the rest of its batch.
    ///
    /// # Errors
    /// When no command waits under it, it is another user's, or too many commands run.
    pub async fn confirm(&self, id: u64, by: &Origin) -> Result<Vec<Invocation>, CommandError> {
        self.executor.confirm(id, by).await
    }

    /// Drops the command that waits under this number, and the rest of its batch; returns them.
    ///
    /// # Errors
    /// When no command waits under it, or it is another user's.
    pub fn refuse(&self, id: u64, by: &Origin) -> Result<Vec<Invocation>, CommandError> {
        let refused = self.executor.refuse(id, by);
        refused.ok_or(CommandError::NothingToConfirm(id))
    }

    /// Whether an utterance that arrives now may be a yes or a no to a spoken command that waits.
    #[must_use]
    pub fn awaits_consent(&self) -> bool {
        self.executor.has_asked()
    }

    /// Takes the command that an utterance confirms or refuses, if it is a yes or a no; for [`Self::consent`]. Later
    /// utterances do not decide about it.
    #[must_use]
    pub fn take_asked(&self, arrival: Arrival) -> Option<u64> {
        self.executor.take_asked(arrival)
    }

    /// Carries out the command that waits under `id` if `said`, a transcript with this confidence, is a yes, or drops it if
    /// it is a no; `None`: it is neither, or the command waits no more or cannot begin.
    pub async fn consent(
        &self,
        id: u64,
        (said, confidence): (&str, f64),
        utterance: u64,
    ) -> Option<Vec<Invocation>> {
        let by = Origin::Voice {
            utterance: Some(utterance),
        };
        match Consent::of(said, confidence, &self.settings.current().commands)? {
            Consent::Given => self.confirm(id, &by).await.ok(),
            Consent::Refused => self.executor.refuse(id, &by),
        }
    }

    /// Cancels all commands that wait or run, then invokes every command that halts, if there is a catalogue. Waits for
    /// nothing, neither for the model nor for the actions, which have begun when this returns.
    #[allow(clippy::must_use_candidate)] // It halts.
    pub fn halt(&self, origin: &Origin) -> Vec<Invocation> {
        self.executor.halt(origin)
    }

    /// Cancels all commands that wait or run, unless they halt: the part of [`Self::halt`] for which its origin need not
    /// be known.
    pub fn cancel_all(&self) {
        self.executor.cancel_all();
    }

    /// Halts for the last time, at the daemon's end, and waits for the actions, for 4 s at most.
    pub async fn stop(&self) {
        self.executor.stop(&Origin::Daemon, LAST_ACTIONS).await;
    }

    /// Once the model is loaded, prefills the declarations of the catalogue, before the first request.
    async fn prepare(self) {
        let Some(force) = self.force() else {
            return self.engine.keep(Kept::Commands, None);
        };
        match self.engine.compile(force.form(Scope::All).clone()).await {
            // Another catalogue may have come into force meanwhile.
            Ok(()) if self.force().is_some_and(|now| Arc::ptr_eq(&now, &force)) => {
                self.engine.keep(Kept::Commands, Some(&force.preamble));
            }
            Ok(()) | Err(EngineError::ModelNotLoaded(_) | EngineError::Stopping) => {}
            Err(error) => log::error!("commands cannot be interpreted: {error}"),
        }
    }
}
