//! Commands: what may be asked for, and what comes of it.
//!
//! An operator writes a catalogue ([`Catalogue`]); the model is told of it as declarations of tools and is
//! held to it by a grammar; what the model then writes is read strictly and checked against the catalogue
//! once more ([`Outcome`]). So nothing happens that was not declared, whatever was said, and whatever the
//! model makes of it.
//!
//! | file | owns |
//! |---|---|
//! | here | the door to the room |
//! | `catalogue` | the files, their keys and their errors |
//! | `folder` | all files of a machine, as one catalogue |
//! | `parameter` | types of parameters, and which values fit them |
//! | `plain` | names and texts that can hold no protocol |
//! | `declaration` | a command as the chat template declares it |
//! | `grammar` | what the model may write |
//! | `call` | what it wrote |
//! | `outcome` | what that means |
//! | `force` | the catalogue in force, as the model gets it |
//! | `consent` | yes or no to a command that waits |
//! | `dialogue` | an utterance, until the person is told what came of it |
//! | `action` | what a command does besides its signal |
//! | `batch` | commands that were said together, carried out one after the other |
//! | `trust` | whose files may say what the daemon does |
//! | `ledger` | which commands may be invoked now, and which wait to be confirmed |

mod action;
mod batch;
mod call;
mod catalogue;
mod consent;
mod declaration;
mod dialogue;
mod folder;
mod force;
mod grammar;
mod ledger;
mod outcome;
mod parameter;
mod plain;
mod trust;

use std::sync::Arc;

use gemmad_api::{InvocationStatus, Stats};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};

pub use action::Action;
pub use call::{Arguments, Call, Malformed, may_be_call};
pub use catalogue::{Catalogue, CatalogueError, Command, Example};
pub use dialogue::Dialogue;
pub use force::{Force, Scope};
pub use ledger::{Invocation, Origin};
pub use outcome::{Outcome, Unfit};
pub use parameter::{Kind, Parameter};
pub use plain::{Name, Plain};

use crate::config::{self, Settings};
use crate::engine::{Engine, EngineError, Kept, Request};
use batch::Batch;
use consent::Consent;
use ledger::Ledger;

/// Events kept for a slow listener.
const EVENTS_KEPT: usize = 256;

/// What others are told of.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// This is to be done now.
    Invoked(Invocation, Origin),
    /// This waits for somebody to confirm it.
    Unconfirmed(Invocation, Origin),
    /// The action of this has ended.
    Finished(Invocation, Origin),
}

/// What came of an utterance.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Commands.
    Commands {
        /// What became of each, in the order they were said.
        invocations: Vec<Invocation>,
        /// What the model says of what they found; empty: nothing.
        words: String,
    },
    /// Something is missing; this is asked back.
    Question(String),
    /// It was no command; this is the model's answer.
    Words(String),
}

/// Why a command could not be made out or carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The configuration says so.
    #[error("commands are switched off; set [commands] enabled = true and `gemmactl reload`")]
    Off,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model wrote what is no command, so nothing was done.
    #[error("nothing was done: {0}; say it in other words")]
    Unfit(#[from] Unfit),
    /// Nothing of this number waits to be confirmed.
    #[error(
        "no command {0} waits to be confirmed; it was confirmed before, waited for longer than a minute, or \
         is somebody else's"
    )]
    NothingToConfirm(u64),
}

/// The door to the room. Clones lead to the same one.
#[derive(Debug, Clone)]
pub struct Commands {
    settings: Settings,
    engine: Engine,
    force: watch::Sender<Option<Arc<Force>>>,
    ledger: Arc<Ledger>,
    events: broadcast::Sender<Event>,
    /// Changes whenever something halts; actions that run end then.
    halts: watch::Sender<()>,
    /// Where actions run, whoever asks for them.
    runtime: Handle,
}

impl Commands {
    /// Reads the catalogue that `settings` name. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the catalogue does not fit.
    pub fn start(settings: Settings, engine: Engine) -> Result<Self, CatalogueError> {
        let catalogue = Self::read(&settings.current().commands)?;
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let commands = Self {
            settings,
            engine,
            force: watch::Sender::new(None),
            ledger: Arc::default(),
            events,
            halts: watch::Sender::new(()),
            runtime: Handle::current(),
        };
        commands.put(catalogue);
        Ok(commands)
    }

    /// Reads the catalogue of a configuration; `None` when commands are switched off.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn read(config: &config::Commands) -> Result<Option<Catalogue>, CatalogueError> {
        let folders = config.enabled.then_some(&config.folders);
        folders.map(|it| Catalogue::load(it)).transpose()
    }

    /// Puts `catalogue` into force, with the rest of the settings as they are now.
    pub fn put(&self, catalogue: Option<Catalogue>) {
        let config = self.settings.current();
        let force = catalogue.map(|it| Arc::new(Force::new(it, &config.commands)));
        self.force.send_replace(force);
        self.runtime.spawn(self.clone().prepare());
    }

    /// Whether this is what is in force already.
    #[must_use]
    pub fn has(&self, catalogue: Option<&Catalogue>) -> bool {
        self.force().as_ref().map(|it| &it.catalogue) == catalogue
    }

    /// What is in force; `None` when commands are switched off.
    #[must_use]
    pub fn force(&self) -> Option<Arc<Force>> {
        self.force.borrow().clone()
    }

    /// Changes whenever another catalogue, or none, is in force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Option<Arc<Force>>> {
        self.force.subscribe()
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Makes out what was written, and carries it out unless it is to be a `dry_run`. The statistics are those of
    /// making it out.
    ///
    /// # Errors
    /// When commands are switched off, the engine fails, or the model wrote what is not in the protocol.
    pub async fn invoke(
        &self,
        text: String,
        origin: &Origin,
        dry_run: bool,
    ) -> Result<(Reading, Stats), CommandError> {
        let force = self.force().ok_or(CommandError::Off)?;
        let config = self.settings.current();
        let question = force.question(&config.answer, text);
        let mut dialogue = self.begin(&force, origin, dry_run);
        let mut first = None;
        loop {
            let asked = self.ask(dialogue.request(question.clone()).await).await;
            let answer = asked.map(|(answer, stats)| {
                first.get_or_insert(stats);
                answer
            });
            if let Some(reading) = dialogue.follow(answer).await? {
                return Ok((reading, first.unwrap_or_default()));
            }
        }
    }

    async fn ask(
        &self,
        request: Result<Request, EngineError>,
    ) -> Result<(String, Stats), EngineError> {
        self.engine.submit(request?).await?.text().await
    }

    /// Begins to follow what the model makes of an utterance by this catalogue.
    #[must_use]
    pub fn begin(&self, force: &Arc<Force>, origin: &Origin, dry_run: bool) -> Dialogue {
        Dialogue::new(self.clone(), Arc::clone(force), origin.clone(), dry_run)
    }

    /// Carries out `calls`, or numbers them for a `dry_run`.
    async fn carry_out(
        &self,
        force: &Arc<Force>,
        calls: Vec<Call>,
        origin: &Origin,
        dry_run: bool,
    ) -> Result<Vec<Invocation>, CommandError> {
        if dry_run {
            return Ok(self.ledger.rehearse(calls));
        }
        if calls.iter().any(|call| force.catalogue.halts(call)) {
            self.cancel();
        }
        // Whatever halts after the decision is noticed.
        let halts = self.halts.subscribe();
        let entered = self.ledger.enter(&force.catalogue, calls, origin);
        let batch = self.batch(force, origin.clone(), halts);
        self.finish(batch, entered).await
    }

    /// Carries out the command that waits under this number, and those that were said after it.
    ///
    /// # Errors
    /// When none does, or it is another user's.
    pub async fn confirm(&self, id: u64, by: &Origin) -> Result<Vec<Invocation>, CommandError> {
        let force = self.force().ok_or(CommandError::Off)?;
        let halts = self.halts.subscribe();
        let confirmed = self.ledger.confirm(&force.catalogue, id, by);
        let (entered, origin) = confirmed.ok_or(CommandError::NothingToConfirm(id))?;
        self.finish(self.batch(&force, origin, halts), entered)
            .await
    }

    /// Whether what is said next may be a yes or a no to a command that was said and waits.
    #[must_use]
    pub fn awaits_consent(&self) -> bool {
        self.ledger.has_asked()
    }

    /// The command that the utterance being answered decides about, if it is a yes or a no; for [`Self::consent`].
    /// Later ones do not.
    #[must_use]
    pub fn take_asked(&self) -> Option<u64> {
        self.ledger.take_asked()
    }

    /// Carries out the command that waits under `id`, or lets it go, if `said` is a yes or a no; `None`: it is neither,
    /// or nothing waits any more.
    pub async fn consent(&self, id: u64, said: &str, utterance: u64) -> Option<Vec<Invocation>> {
        let by = Origin::Voice {
            utterance: Some(utterance),
        };
        match Consent::of(said, &self.settings.current().commands)? {
            Consent::Given => self.confirm(id, &by).await.ok(),
            Consent::Refused => Some(self.let_go(self.ledger.refuse(id, &by)?)),
        }
    }

    /// Cancels all that waits and runs, then invokes every command that halts. Neither the model nor anything
    /// else is waited for, not even their own actions: those have begun.
    ///
    /// # Errors
    /// When commands are switched off.
    pub fn halt(&self, origin: &Origin) -> Result<Vec<Invocation>, CommandError> {
        let force = self.force().ok_or(CommandError::Off)?;
        self.cancel();
        let mut halted = self.ledger.halt(&force.catalogue, origin);
        let batch = self.batch(&force, origin.clone(), self.halts.subscribe());
        self.runtime.spawn(batch.carry_out(halted.clone()));
        for invocation in &mut halted {
            let command = force.catalogue.command(&invocation.call);
            if command.is_some_and(|command| command.action.is_some()) {
                invocation.status = InvocationStatus::Running;
            }
        }
        Ok(halted)
    }

    /// Cancels all that waits and all that runs.
    fn cancel(&self) {
        self.halts.send_replace(());
        self.let_go(self.ledger.drop_waiting());
    }

    /// Keeps a record of what was waiting and is not done.
    fn let_go(&self, dropped: Vec<(Invocation, Origin)>) -> Vec<Invocation> {
        let recorded = dropped.into_iter().map(|(invocation, origin)| {
            self.record(&invocation, &origin);
            invocation
        });
        recorded.collect()
    }

    fn batch(&self, force: &Arc<Force>, origin: Origin, halts: watch::Receiver<()>) -> Batch {
        Batch {
            commands: self.clone(),
            force: Arc::clone(force),
            origin,
            halts,
        }
    }

    /// Carries it out in a task of its own, so that it does not depend on who waits for it.
    async fn finish(
        &self,
        batch: Batch,
        entered: Vec<Invocation>,
    ) -> Result<Vec<Invocation>, CommandError> {
        let task = self.runtime.spawn(batch.carry_out(entered));
        // The task ends early only with the daemon.
        Ok(task.await.map_err(|_| EngineError::Stopping)?)
    }

    /// Has the model told of the catalogue before anybody asks, once it is loaded.
    async fn prepare(self) {
        let Some(force) = self.force() else {
            return self.engine.keep(Kept::Commands, None);
        };
        match force.grammar(&self.engine, Scope::All).await {
            Ok(_) => self.engine.keep(Kept::Commands, Some(&force.preamble)),
            Err(EngineError::ModelNotLoaded(_) | EngineError::Stopping) => {}
            Err(error) => log::error!("no command can be made out: {error}"),
        }
    }

    /// Keeps a record of it in the journal.
    fn record(&self, invocation: &Invocation, origin: &Origin) {
        invocation.record(origin, self.settings.current().log.content);
    }

    fn tell(&self, event: Event) {
        // Nobody listening is no failure.
        let _ = self.events.send(event);
    }
}
