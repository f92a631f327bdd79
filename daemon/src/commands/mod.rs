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
//! | `catalogue` | what may be asked for, and which arguments fit |
//! | `written` | the files, their keys and their errors |
//! | `folder` | all files of a machine, as one catalogue |
//! | `check` | mistakes that the keys do not show |
//! | `error` | why a catalogue was refused |
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
//! | `trust` | whose files may say what the daemon does |
//! | `invocation` | a command that was asked for, and what became of it |
//! | `arrival` | when it was asked for |
//! | `ledger` | which commands begin now, which wait to be confirmed, and what halting does to both |
//! | `executor` | carries out what the ledger decides |

mod action;
mod arrival;
mod call;
mod catalogue;
mod check;
mod consent;
mod declaration;
mod dialogue;
mod error;
mod executor;
mod folder;
mod force;
mod grammar;
mod invocation;
mod ledger;
mod outcome;
mod parameter;
mod plain;
mod trust;
mod written;

use std::sync::Arc;
use std::time::Duration;

use gemmad_api::Stats;
use tokio::sync::{broadcast, watch};

pub use action::Action;
pub use arrival::{Arrival, Epoch};
pub use call::{Arguments, Call, Malformed, may_be_call};
pub use catalogue::{Catalogue, Command, Example};
pub use dialogue::Dialogue;
pub use error::CatalogueError;
pub use force::{Force, Scope};
pub use invocation::{Invocation, Origin};
pub use outcome::{Outcome, Unfit};
pub use parameter::{Kind, Parameter};
pub use plain::{Name, Plain};
pub use written::Source;

use crate::config::{self, Settings};
use crate::engine::{Engine, EngineError, Kept, Limits, Request};
use crate::platform::environment::Environment;
use consent::Consent;
use executor::Executor;

/// Longest wait for actions at the daemon's end: for those that run, half a second after they were told to
/// end, and for those that halt.
const LAST_ACTIONS: Duration = Duration::from_secs(4);

/// What others are told of.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// This is to be done now.
    Invoked(Invocation, Origin),
    /// This waits for somebody to confirm it.
    Unconfirmed(Invocation, Origin),
    /// The action of this has ended.
    Finished(Invocation, Origin),
    /// This waited to be confirmed and will not be done.
    Dropped(Invocation, Origin),
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
        "no command {0} waits to be confirmed; either nobody was asked about it yet, or it was decided, dropped \
         or waited for longer than a minute, or it is another user's"
    )]
    NothingToConfirm(u64),
    /// Too many run already.
    #[error("{running} commands are running already; wait until one has ended, or `gemmactl halt`")]
    Crowded {
        /// How many run.
        running: usize,
    },
}

/// The door to the room. Clones lead to the same one.
#[derive(Debug, Clone)]
pub struct Commands {
    settings: Settings,
    engine: Engine,
    force: watch::Sender<Option<Arc<Force>>>,
    executor: Arc<Executor>,
}

impl Commands {
    /// Reads the catalogue that `settings` name. Programs get the variables of `environment`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the catalogue does not fit.
    pub fn start(
        settings: Settings,
        engine: Engine,
        environment: Environment,
    ) -> Result<Self, CatalogueError> {
        let catalogue = Self::read(&settings.current().commands)?;
        let commands = Self {
            executor: Executor::start(settings.clone(), environment),
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
    /// When it does not fit.
    pub fn read(config: &config::Commands) -> Result<Option<Catalogue>, CatalogueError> {
        let folders = config.enabled.then_some(&config.folders);
        folders.map(|it| Catalogue::load(it)).transpose()
    }

    /// Puts `catalogue` into force, with the rest of the settings as they are now.
    pub fn put(&self, catalogue: Option<Catalogue>) {
        let config = self.settings.current();
        let force = catalogue.map(|it| Arc::new(Force::new(it, &config.commands)));
        self.executor.put(force.clone());
        self.force.send_replace(force);
        tokio::spawn(self.clone().prepare());
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
        self.executor.events()
    }

    /// Now, for a request or an utterance that arrives now: the first thing that is done about it. A halt after
    /// this is meant for all that comes of it.
    #[must_use]
    pub fn arrival(&self) -> Arrival {
        self.executor.arrival()
    }

    /// Checks that `text` is short enough for [`Self::invoke`].
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`].
    pub fn measure(&self, text: &str) -> Result<(), CommandError> {
        let limits = Limits::new(&self.settings.current().engine);
        Ok(limits.check_prompt(text.len())?)
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
        arrival: Arrival,
        dry_run: bool,
    ) -> Result<(Reading, Stats), CommandError> {
        let force = self.force().ok_or(CommandError::Off)?;
        let config = self.settings.current();
        let question = force.question(&config.answer, text);
        let mut dialogue = self.begin(&force, origin, arrival, dry_run);
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

    /// Begins to follow what the model makes, by this catalogue, of what arrived then.
    #[must_use]
    pub fn begin(
        &self,
        force: &Arc<Force>,
        origin: &Origin,
        arrival: Arrival,
        dry_run: bool,
    ) -> Dialogue {
        Dialogue::new(
            self.clone(),
            Arc::clone(force),
            origin.clone(),
            arrival,
            dry_run,
        )
    }

    /// Carries out the command that waits under this number, and those that were said after it.
    ///
    /// # Errors
    /// When none does, or it is another user's.
    pub async fn confirm(&self, id: u64, by: &Origin) -> Result<Vec<Invocation>, CommandError> {
        self.executor.confirm(id, by).await
    }

    /// Lets go of the command that waits under this number, and of those that were said after it; returns them.
    ///
    /// # Errors
    /// When none does, or it is another user's.
    pub fn refuse(&self, id: u64, by: &Origin) -> Result<Vec<Invocation>, CommandError> {
        let refused = self.executor.refuse(id, by);
        refused.ok_or(CommandError::NothingToConfirm(id))
    }

    /// Whether an utterance that arrives now may be a yes or a no to a command that was said and waits.
    #[must_use]
    pub fn awaits_consent(&self) -> bool {
        self.executor.has_asked()
    }

    /// The command that an utterance decides about, if it is a yes or a no; for [`Self::consent`]. Later ones do
    /// not.
    #[must_use]
    pub fn take_asked(&self, arrival: Arrival) -> Option<u64> {
        self.executor.take_asked(arrival)
    }

    /// Carries out the command that waits under `id`, or lets it go, if `said` is a yes or a no; `None`: it is neither,
    /// or nothing waits any more.
    pub async fn consent(&self, id: u64, said: &str, utterance: u64) -> Option<Vec<Invocation>> {
        let by = Origin::Voice {
            utterance: Some(utterance),
        };
        match Consent::of(said, &self.settings.current().commands)? {
            Consent::Given => self.confirm(id, &by).await.ok(),
            Consent::Refused => self.executor.refuse(id, &by),
        }
    }

    /// Cancels all that waits and runs, then invokes every command that halts, if there is a catalogue. Neither the
    /// model nor anything else is waited for, not even their own actions: those have begun.
    #[allow(clippy::must_use_candidate)] // It halts.
    pub fn halt(&self, origin: &Origin) -> Vec<Invocation> {
        self.executor.halt(origin)
    }

    /// Halts for the last time, at the daemon's end, and waits for the actions, but not for long.
    pub async fn stop(&self) {
        self.executor.stop(&Origin::Daemon, LAST_ACTIONS).await;
    }

    /// Has the model told of the catalogue before anybody asks, once it is loaded.
    async fn prepare(self) {
        let Some(force) = self.force() else {
            return self.engine.keep(Kept::Commands, None);
        };
        match force.grammar(&self.engine, Scope::All).await {
            // Another catalogue may have come into force meanwhile.
            Ok(_) if self.force().is_some_and(|now| Arc::ptr_eq(&now, &force)) => {
                self.engine.keep(Kept::Commands, Some(&force.preamble));
            }
            Ok(_) | Err(EngineError::ModelNotLoaded(_) | EngineError::Stopping) => {}
            Err(error) => log::error!("no command can be made out: {error}"),
        }
    }
}
