//! Carries out what the ledger decides: runs actions, notifies subscribers and the journal, returns outcomes to
//! callers, lets questions expire.
//!
//! One lock guards the ledger. A step and its effects happen under the write lock, and each poll of an action holds
//! the read lock. So once a halt has returned, no command from before it begins anything new.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::timeout;

use super::action::Job;
use super::ledger::{Effect, Ledger};
use super::timers::Timers;
use super::{
    Arrival, Call, CommandError, Event, Evidence, Force, Invocation, Origin, Status, Talk,
};
use crate::config::Settings;
use crate::engine::EngineError;
use crate::platform::environment::Environment;

/// Events kept for a slow subscriber.
const EVENTS_KEPT: usize = 256;

/// The ledger, the running actions and the callers that wait.
#[derive(Debug, Default)]
struct Book {
    ledger: Ledger,
    /// Switches of the running actions, by the command's number. True: the action is to end.
    running: BTreeMap<u64, watch::Sender<bool>>,
    /// Callers that wait for a batch, by its number.
    waiting: BTreeMap<u64, oneshot::Sender<Vec<Invocation>>>,
}

/// The executor. It is shared by the room's door and the tasks of the actions.
#[derive(Debug)]
pub(super) struct Executor {
    book: RwLock<Book>,
    settings: Settings,
    events: broadcast::Sender<Event>,
    /// Environment variables of the programs that actions run.
    environment: Environment,
    timers: Timers,
    talk: Arc<dyn Talk>,
    /// Runs the actions, whichever thread a command comes from.
    runtime: Handle,
    /// Notified after each step: the earliest expiry of a question may have changed.
    asked: Notify,
    /// Whether no action runs.
    idle: watch::Sender<bool>,
}

impl Executor {
    /// Starts the executor. Needs a tokio runtime.
    pub(super) fn start(
        settings: Settings,
        environment: Environment,
        timers: Timers,
        talk: Arc<dyn Talk>,
    ) -> Arc<Self> {
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let executor = Arc::new(Self {
            book: RwLock::default(),
            settings,
            events,
            environment,
            timers,
            talk,
            runtime: Handle::current(),
            asked: Notify::new(),
            idle: watch::Sender::new(true),
        });
        executor.runtime.spawn(Arc::clone(&executor).expire());
        executor
    }

    /// The events from now on.
    pub(super) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The arrival of a request or an utterance that came `at` this time.
    pub(super) fn arrival(&self, at: Instant) -> Arrival {
        self.read(|ledger| ledger.arrival(at))
    }

    pub(super) fn put(self: &Arc<Self>, force: Option<Arc<Force>>) {
        self.step(|ledger, _, effects| ledger.put(force, effects));
    }

    pub(super) fn rehearse(self: &Arc<Self>, calls: Vec<Call>) -> Vec<Invocation> {
        self.step(|ledger, _, _| ledger.rehearse(calls))
    }

    /// Carries out `calls`, and waits until all have ended or wait to be confirmed. Dropping the wait ends commands
    /// from a client; spoken ones go on.
    ///
    /// # Errors
    /// When too many run already.
    pub(super) async fn carry_out(
        self: &Arc<Self>,
        calls: Vec<Call>,
        origin: &Origin,
        arrival: Arrival,
        evidence: Evidence,
    ) -> Result<Vec<Invocation>, CommandError> {
        let begun = self.begin(origin, |ledger, now, effects| {
            ledger.enter(calls, origin, arrival, evidence, now, effects)
        });
        begun?.settled().await
    }

    /// The same for the command that waits under `id` to be confirmed. Dropping the wait ends it if a client confirmed
    /// it, even if the command was spoken.
    ///
    /// # Errors
    /// When no command waits under `id` that `by` may confirm, or too many run already.
    pub(super) async fn confirm(
        self: &Arc<Self>,
        id: u64,
        by: &Origin,
    ) -> Result<Vec<Invocation>, CommandError> {
        let begun = self.begin(by, |ledger, now, effects| {
            ledger.confirm(id, by, now, effects)
        });
        begun?.settled().await
    }

    pub(super) fn refuse(self: &Arc<Self>, id: u64, by: &Origin) -> Option<Vec<Invocation>> {
        self.step(|ledger, now, effects| ledger.refuse(id, by, now, effects))
    }

    pub(super) fn halt(self: &Arc<Self>, origin: &Origin) -> Vec<Invocation> {
        self.step(|ledger, now, effects| ledger.halt(origin, now, effects))
    }

    pub(super) fn cancel_all(self: &Arc<Self>) {
        self.step(Ledger::cancel_all);
    }

    pub(super) fn has_asked(&self) -> bool {
        self.read(|ledger| ledger.has_asked(Instant::now()))
    }

    pub(super) fn take_asked(self: &Arc<Self>, arrival: Arrival) -> Option<u64> {
        self.step(|ledger, _, _| ledger.take_asked(arrival))
    }

    /// Halts for the last time, and waits until every action has ended, for `patience` at most.
    pub(super) async fn stop(self: &Arc<Self>, origin: &Origin, patience: Duration) {
        self.step(|ledger, now, effects| ledger.close(origin, now, effects));
        let mut idle = self.idle.subscribe();
        if timeout(patience, idle.wait_for(|idle| *idle))
            .await
            .is_err()
        {
            log::warn!(
                "actions still run {} s after they were told to end",
                patience.as_secs()
            );
        }
    }

    /// Makes a step that sets a batch going, and returns the wait for that batch.
    fn begin(
        self: &Arc<Self>,
        by: &Origin,
        step: impl FnOnce(&mut Ledger, Instant, &mut Vec<Effect>) -> Result<u64, CommandError>,
    ) -> Result<Waiting, CommandError> {
        let (outcome, settled) = oneshot::channel();
        let number = self.write(|book, now, effects| {
            let number = step(&mut book.ledger, now, effects)?;
            book.waiting.insert(number, outcome);
            Ok::<_, CommandError>(number)
        })?;
        Ok(Waiting {
            executor: Arc::clone(self),
            number,
            settled,
            takes_along: matches!(by, Origin::Text { .. }),
        })
    }

    fn step<T>(
        self: &Arc<Self>,
        step: impl FnOnce(&mut Ledger, Instant, &mut Vec<Effect>) -> T,
    ) -> T {
        self.write(|book, now, effects| step(&mut book.ledger, now, effects))
    }

    /// Makes a step and carries out its effects under one write lock.
    fn write<T>(
        self: &Arc<Self>,
        step: impl FnOnce(&mut Book, Instant, &mut Vec<Effect>) -> T,
    ) -> T {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let mut effects = Vec::new();
        let result = step(&mut book, Instant::now(), &mut effects);
        self.carry(&mut book, &effects);
        drop(book);
        self.record(&effects);
        result
    }

    fn read<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        read(&book.ledger)
    }

    fn carry(self: &Arc<Self>, book: &mut Book, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Tell(event) => {
                    if let Event::Finished(invocation, _) = event {
                        book.running.remove(&invocation.id);
                    }
                    // Having no subscriber is no failure.
                    let _ = self.events.send(event.clone());
                }
                Effect::Record(..) => {}
                Effect::Run(force, invocation, origin) => {
                    let (end, halted) = watch::channel(false);
                    book.running.insert(invocation.id, end);
                    let executor = Arc::clone(self);
                    let (force, invocation) = (Arc::clone(force), invocation.clone());
                    let action = executor.act(force, invocation, origin.clone(), halted);
                    self.runtime.spawn(action);
                }
                Effect::Cancel(id) => {
                    if let Some(end) = book.running.get(id) {
                        end.send_replace(true);
                    }
                }
                Effect::Settle(number, invocations) => {
                    if let Some(outcome) = book.waiting.remove(number) {
                        // The caller may have left.
                        let _ = outcome.send(invocations.clone());
                    }
                }
            }
        }
        self.idle.send_replace(book.ledger.is_idle());
        self.asked.notify_one();
    }

    /// Writes the effects to the journal, outside the lock because a journal may block its writer.
    fn record(&self, effects: &[Effect]) {
        let with_content = self.settings.current().log.content;
        for effect in effects {
            match effect {
                Effect::Record(invocation, origin)
                | Effect::Tell(
                    Event::Invoked(invocation, origin)
                    | Event::Unconfirmed(invocation, origin)
                    | Event::Finished(invocation, origin)
                    | Event::Dropped(invocation, origin),
                ) => invocation.record(origin, with_content),
                Effect::Run(..) | Effect::Cancel(_) | Effect::Settle(..) => {}
            }
        }
    }

    /// Runs the action of a command to its end.
    async fn act(
        self: Arc<Self>,
        force: Arc<Force>,
        invocation: Invocation,
        origin: Origin,
        mut halted: watch::Receiver<bool>,
    ) {
        let Invocation { id, call, .. } = &invocation;
        let job = Job {
            id: *id,
            call,
            origin: &origin,
            environment: &self.environment,
            timers: &self.timers,
            talk: &*self.talk,
        };
        let command = force.catalogue.command(call);
        let action = command.and_then(|command| command.action.as_ref());
        let outcome = match action {
            Some(action) => {
                // Its sender lives until the action has ended.
                let halted = async { drop(halted.wait_for(|it| *it).await) };
                let action = pin!(action.run(job, halted));
                let book = &self.book;
                Moving { book, action }.await
            }
            None => Ok(String::new()),
        };
        let ended = match outcome {
            Ok(said) => (Status::Done, said),
            Err(error) => {
                log::info!(
                    command = call.name, id = *id;
                    "command {}: {}", call.name, error
                );
                (error.status(), error.told())
            }
        };
        self.step(|ledger, now, effects| ledger.ended(*id, ended, now, effects));
    }

    /// Lets questions expire, for as long as the daemon runs.
    async fn expire(self: Arc<Self>) {
        loop {
            let next = self.read(Ledger::next_expiry);
            let expired = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = expired => self.step(Ledger::expire),
                () = self.asked.notified() => {}
            }
        }
    }
}

/// A caller's wait for a batch.
struct Waiting {
    executor: Arc<Executor>,
    number: u64,
    settled: oneshot::Receiver<Vec<Invocation>>,
    /// Whether the batch ends when this is dropped.
    takes_along: bool,
}

impl Waiting {
    /// Waits until the batch has ended or waits to be confirmed.
    async fn settled(mut self) -> Result<Vec<Invocation>, CommandError> {
        let settled = (&mut self.settled).await;
        self.takes_along = false;
        // The sender is dropped only with the daemon.
        Ok(settled.map_err(|_| EngineError::Stopping)?)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.takes_along {
            let number = self.number;
            self.executor
                .step(|ledger, _, effects| ledger.abandon(number, effects));
        }
    }
}

/// An action that is polled only while no step of the ledger is under way.
struct Moving<'a, F> {
    book: &'a RwLock<Book>,
    action: Pin<&'a mut F>,
}

impl<F: Future> Future for Moving<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _no_halt = self.book.read().unwrap_or_else(PoisonError::into_inner);
        self.action.as_mut().poll(context)
    }
}
