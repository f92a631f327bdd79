//! Signals on the bus for changes and events in other rooms.

use std::sync::Arc;
use std::time::Instant;

use gemmad_api::{
    COMMANDS_PATH, KeywordMeaning, MANAGER_PATH, Stats, TIMERS_PATH, VOICE_PATH, to_dict,
};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use zbus::Connection;
use zbus::object_server::{InterfaceRef, SignalEmitter};

use super::bucket::Bucket;
use super::manager::Manager;
use super::{Rooms, commands, refusal, timers, voice};
use crate::assistant::{Event, Status};
use crate::commands::timers::Rung;
use crate::commands::{Event as Command, Force};
use crate::config::Meaning;
use crate::engine::{Engine, Phase};
use crate::listen::keyword::Spotted;

/// Most changes of the voice's properties that are announced at once, and the rate after that. Clients can cause any
/// number of changes, and a bus keeps all signals for a subscriber that does not read; see [`super::traffic`].
const CHANGES: u32 = 64;
const CHANGES_A_SECOND: u32 = 8;

/// The tasks that announce.
#[derive(Debug)]
pub(super) struct Announcers {
    tasks: JoinSet<()>,
    /// True: the tasks announce what has happened, and end.
    over: watch::Sender<bool>,
}

impl Announcers {
    /// Waits until all changes and events so far are announced, and ends the tasks.
    pub(super) async fn finish(mut self) {
        self.over.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Starts the tasks that announce, for as long as the other rooms live. The first state is
/// announced too, for clients that waited for the name.
///
/// # Errors
/// When the bus is gone already.
pub(super) async fn start(
    connection: &Connection,
    rooms: &Rooms,
    stopping: watch::Receiver<bool>,
) -> zbus::Result<Announcers> {
    manager_state(connection).await?;
    let server = connection.object_server();
    let manager = server.interface::<_, Manager>(MANAGER_PATH).await?;
    let spoken = server.interface::<_, voice::Voice>(VOICE_PATH).await?;
    let invoked = server.interface(COMMANDS_PATH).await?;
    let Rooms {
        engine,
        voice,
        commands,
        ..
    } = rooms;
    let (over, end) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(until(
        end.clone(),
        phases(manager, engine.clone(), stopping),
    ));
    let turns = spoken_turns(spoken, voice.status(), voice.events(), end.clone());
    tasks.spawn(turns);
    tasks.spawn(until(
        end.clone(),
        catalogues(invoked.clone(), commands.changes()),
    ));
    let ringing = server.interface(TIMERS_PATH).await?;
    tasks.spawn(until(end.clone(), rings(ringing, rooms.timers.events())));
    tasks.spawn(invocations(invoked, commands.events(), end));
    Ok(Announcers { tasks, over })
}

/// Announces until `announcing` ends by itself, or until the end.
async fn until(mut end: watch::Receiver<bool>, announcing: impl Future<Output = ()>) {
    tokio::select! {
        () = announcing => {}
        () = reached(&mut end) => {}
    }
}

/// Waits for the end.
async fn reached(end: &mut watch::Receiver<bool>) {
    // A dropped sender is the end too.
    let _ = end.wait_for(|over| *over).await;
}

/// Announces the manager's present state.
///
/// # Errors
/// When the bus is gone.
pub(super) async fn manager_state(connection: &Connection) -> zbus::Result<()> {
    let server = connection.object_server();
    let manager = server.interface::<_, Manager>(MANAGER_PATH).await?;
    manager
        .get()
        .await
        .state_changed(manager.signal_emitter())
        .await
}

async fn phases(manager: InterfaceRef<Manager>, engine: Engine, stopping: watch::Receiver<bool>) {
    let mut phase = engine.phase();
    let mut scarcity = engine.scarcity();
    let mut was_loading = false;
    loop {
        let changed = tokio::select! {
            changed = phase.changed() => changed,
            changed = scarcity.changed() => changed,
        };
        if changed.is_err() || *stopping.borrow() {
            return;
        }
        // Only the beginning of loading is a new state.
        let is_loading = matches!(&*phase.borrow_and_update(), Phase::Loading(_));
        if std::mem::replace(&mut was_loading, is_loading) && is_loading {
            continue;
        }
        let emitter = manager.signal_emitter();
        let manager = manager.get().await;
        let announced = async {
            manager.model_changed(emitter).await?;
            manager.deaf_changed(emitter).await?;
            manager.problem_changed(emitter).await?;
            manager.state_changed(emitter).await
        };
        log_failure(announced.await);
    }
}

/// Announces the events of a turn before the state that follows from them, so that no client sees the
/// voice idle before its last reply.
async fn spoken_turns(
    object: InterfaceRef<voice::Voice>,
    mut status: watch::Receiver<Status>,
    mut events: broadcast::Receiver<Event>,
    mut end: watch::Receiver<bool>,
) {
    let mut before = status.borrow_and_update().clone();
    let mut pace = Bucket::new(CHANGES, CHANGES_A_SECOND, Instant::now());
    loop {
        let changed = async {
            sleep_until(pace.next().into()).await;
            status.changed().await
        };
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(event) => log_failure(signal(object.signal_emitter(), event).await),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    log::warn!("{missed} signals of spoken turns were lost: the bus is too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            changed = changed => {
                if changed.is_err() {
                    return;
                }
                pace.take(Instant::now());
                let now = status.borrow_and_update().clone();
                log_failure(properties(&object, &before, &now).await);
                before = now;
            }
            // Last in the biased order: what has happened is announced first.
            () = reached(&mut end) => return,
        }
    }
}

/// `Muted` is not here: its setter is its only source, and announces itself.
async fn properties(
    object: &InterfaceRef<voice::Voice>,
    before: &Status,
    now: &Status,
) -> zbus::Result<()> {
    let emitter = object.signal_emitter();
    let object = object.get().await;
    if now.device != before.device {
        object.device_changed(emitter).await?;
    }
    if now.problem != before.problem {
        object.problem_changed(emitter).await?;
    }
    if now.loudspeaker != before.loudspeaker {
        object.loudspeaker_changed(emitter).await?;
    }
    if now.speech_problem != before.speech_problem {
        object.speech_problem_changed(emitter).await?;
    }
    if now.state != before.state {
        object.state_changed(emitter).await?;
    }
    Ok(())
}

async fn signal(emitter: &SignalEmitter<'_>, event: Event) -> zbus::Result<()> {
    match event {
        Event::Started { utterance } => voice::Voice::speech_started(emitter, utterance).await,
        Event::Ended {
            utterance,
            milliseconds,
        } => voice::Voice::speech_ended(emitter, utterance, milliseconds).await,
        Event::Hearing { utterance, text } => {
            voice::Voice::partial_transcript(emitter, utterance, &text).await
        }
        Event::Transcript { utterance, text } => {
            voice::Voice::transcript(emitter, utterance, &text).await
        }
        Event::Replying { utterance, piece } => {
            voice::Voice::reply_piece(emitter, utterance, &piece).await
        }
        Event::Reply {
            utterance,
            text,
            stats,
        } => voice::Voice::reply(emitter, utterance, &text, to_dict(&Stats::from(*stats))).await,
        Event::Spotted(Spotted {
            word,
            meaning,
            score,
        }) => {
            let meaning = match meaning {
                Meaning::Wake => KeywordMeaning::Wake,
                Meaning::Halt => KeywordMeaning::Halt,
            };
            voice::Voice::keyword(emitter, &word, meaning, score.into()).await
        }
        Event::Failed { utterance, error } => {
            let (name, message) = refusal::name_and_message(&refusal::engine(&error));
            voice::Voice::failed(emitter, utterance, &name, &message).await
        }
    }
}

async fn catalogues(
    object: InterfaceRef<commands::Commands>,
    mut changes: watch::Receiver<Option<Arc<Force>>>,
) {
    while changes.changed().await.is_ok() {
        let emitter = object.signal_emitter();
        log_failure(object.get().await.enabled_changed(emitter).await);
    }
}

async fn rings(object: InterfaceRef<timers::Timers>, mut rung: broadcast::Receiver<Rung>) {
    loop {
        match rung.recv().await {
            Ok(Rung { timer, is_missed }) => {
                let emitter = object.signal_emitter();
                log_failure(timers::Timers::rang(emitter, timer.id, &timer.name, is_missed).await);
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                log::warn!("{missed} timers were not signalled: the bus is too slow");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn invocations(
    object: InterfaceRef<commands::Commands>,
    mut events: broadcast::Receiver<Command>,
    mut end: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            // What has happened is announced before the end.
            biased;
            event = events.recv() => match event {
                Ok(event) => log_failure(commands::signal(object.signal_emitter(), event).await),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    log::error!("{missed} commands were not signalled: the bus is too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = reached(&mut end) => return,
        }
    }
}

fn log_failure(announced: zbus::Result<()>) {
    if let Err(error) = announced {
        log::warn!("a signal could not be sent: {error}");
    }
}
