//! Who is on the other side of the bus: what each client holds of the daemon, which user it is, and whether it is
//! still there.
//!
//! One signal tells of every client that leaves. A client that is new is asked for once, so that a call answered
//! without that costs no round trip.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use gemmad_api::Error;
use tokio::sync::watch;
use tokio::time::timeout;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::message::{Flags, Header};
use zbus::names::{BusName, OwnedUniqueName};

use super::refusal;
use crate::engine::EngineError;

/// How long the machine's list of users may take to name one. A list on a network may take longer; then the
/// number does.
const NAMING: Duration = Duration::from_secs(1);

/// How long what cannot wait does wait for the name of who asks for it.
const SOON: Duration = Duration::from_millis(100);

/// What a client holds while the daemon works for it. What is answered at once is not counted.
///
/// A process may have 1024 files open where nobody allowed it more. The daemon itself needs 64 at most. Of the
/// rest these bounds leave 512 to the programs of commands, so that a halt always finds what it needs:
///
/// | held | in all | descriptors | sum |
/// |---|---|---|---|
/// | [`Self::Sound`] | 32 | the file, twice while its call lasts | 64 |
/// | [`Self::Stream`] | 64 | the pipe and a sound file, twice while its call lasts | 256 |
/// | [`Self::Speech`] | 32 | three pipes and a process | 128 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A question without sound. It needs one of the engine's places, whose number is configured.
    Question,
    /// A question about a sound file, or its transcription.
    Sound,
    /// An answer on a pipe, until its last line is with the reader.
    Stream,
    /// A text to be said.
    Speech,
    /// Any other call that waits for something.
    Call,
}

/// How much of a kind may be held.
struct Bounds {
    /// By one client.
    by_one: usize,
    /// By all of them.
    in_all: usize,
    /// Most descriptors that its call carries.
    descriptors: usize,
    /// What it is called.
    name: &'static str,
}

impl Kind {
    const ALL: usize = 5;

    fn bounds(self) -> Bounds {
        let (by_one, in_all, descriptors, name) = match self {
            Self::Question => (usize::MAX, usize::MAX, 0, "questions"),
            Self::Sound => (8, 32, 1, "sound files"),
            Self::Stream => (8, 64, 2, "streams"),
            Self::Speech => (8, 32, 0, "texts to be said"),
            Self::Call => (16, 64, 0, "calls"),
        };
        Bounds {
            by_one,
            in_all,
            descriptors,
            name,
        }
    }
}

/// The clients that have called for something that takes a while.
#[derive(Debug, Clone)]
pub(super) struct Clients(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    known: Mutex<HashMap<OwnedUniqueName, Arc<Client>>>,
    held: Held,
    /// What is held has a receiver of this.
    holding: watch::Sender<()>,
    /// Whether the daemon takes nothing new any more.
    stopping: watch::Receiver<bool>,
}

/// How many of each kind.
#[derive(Debug, Default)]
struct Held([AtomicUsize; Kind::ALL]);

impl Held {
    fn of(&self, kind: Kind) -> &AtomicUsize {
        &self.0[kind as usize]
    }
}

#[derive(Debug)]
struct Client {
    held: Held,
    presence: watch::Sender<Presence>,
}

#[derive(Debug, Clone)]
enum Presence {
    /// Nobody has asked yet.
    New,
    Here(User),
    Gone,
}

/// The user that a client belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// Their number.
    pub number: u32,
    /// Their name, or their number if they have none.
    pub name: String,
}

impl Clients {
    /// Nobody is known yet. While `stopping` is true, nothing may be held.
    pub(super) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self(Arc::new(Registry {
            known: Mutex::default(),
            held: Held::default(),
            holding: watch::Sender::new(()),
            stopping,
        }))
    }

    /// Waits until nobody holds anything.
    pub(super) async fn released(&self) {
        self.0.holding.closed().await;
    }

    /// Forgets clients that leave, from now on and for as long as there is a bus.
    ///
    /// # Errors
    /// When the bus is gone already.
    pub(super) async fn follow(&self, connection: &Connection) -> zbus::Result<()> {
        let bus = DBusProxy::new(connection).await?;
        // Nothing else is awaited between two of these, so they never hold up what comes after them.
        let mut leaving = bus.receive_name_owner_changed_with_args(&[(2, "")]).await?;
        let registry = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Some(left) = leaving.next().await {
                if let Ok(left) = left.args()
                    && let BusName::Unique(name) = left.name()
                    && let Some(client) = registry.known().remove(name.as_str())
                {
                    client.presence.send_replace(Presence::Gone);
                }
            }
        });
        Ok(())
    }

    /// Whether anything new is begun.
    ///
    /// # Errors
    /// That the daemon is stopping.
    pub(super) fn admit(&self) -> Result<(), Error> {
        if *self.0.stopping.borrow() {
            return Err(refusal::engine(&EngineError::Stopping));
        }
        Ok(())
    }

    /// Lets the caller of `header` hold one of `kind` until what this returns is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] when this client or all of them hold as many as they may; that the daemon is stopping; or
    /// that the call carries descriptors which are no arguments.
    pub(super) fn hold(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        kind: Kind,
    ) -> Result<Hold, Error> {
        self.admit()?;
        let bounds = kind.bounds();
        let descriptors = header.unix_fds().unwrap_or_default() as usize;
        if descriptors > bounds.descriptors {
            return Err(Error::InvalidArgument(format!(
                "the call carries {descriptors} file descriptors; its arguments name {} at most",
                bounds.descriptors
            )));
        }
        let client = self.client(connection, header)?;
        take(client.held.of(kind), bounds.by_one).map_err(|most| {
            Error::Busy(format!(
                "you hold {most} {}, as many as one client may; wait until one is done",
                bounds.name
            ))
        })?;
        take(self.0.held.of(kind), bounds.in_all).map_err(|most| {
            client.held.of(kind).fetch_sub(1, Relaxed);
            Error::Busy(format!(
                "{most} {} are held, as many as all clients together may; try again later",
                bounds.name
            ))
        })?;
        Ok(Hold {
            registry: Arc::clone(&self.0),
            client,
            kind,
            is_awaited: !header.primary().flags().contains(Flags::NO_REPLY_EXPECTED),
            _holding: self.0.holding.subscribe(),
        })
    }

    /// The user who calls.
    ///
    /// # Errors
    /// When the caller has left.
    pub(super) async fn user(
        &self,
        connection: &Connection,
        header: &Header<'_>,
    ) -> Result<User, Error> {
        let client = self.client(connection, header)?;
        let mut presence = client.presence.subscribe();
        let known = presence
            .wait_for(|it| !matches!(it, Presence::New))
            .await
            .map_err(|_| gone())?;
        match &*known {
            Presence::Here(user) => Ok(user.clone()),
            Presence::New | Presence::Gone => Err(gone()),
        }
    }

    /// The name of the user who calls, or the client's name on the bus where nobody knows it soon. For what cannot
    /// wait.
    pub(super) async fn user_soon(&self, connection: &Connection, header: &Header<'_>) -> String {
        match timeout(SOON, self.user(connection, header)).await {
            Ok(Ok(user)) => user.name,
            Ok(Err(_)) | Err(_) => header.sender().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// Finds the caller, or begins to ask who it is.
    fn client(&self, connection: &Connection, header: &Header<'_>) -> Result<Arc<Client>, Error> {
        let name = header
            .sender()
            .ok_or_else(|| Error::NotAuthorized("the bus does not say who calls".into()))?;
        let mut known = self.0.known();
        if let Some(client) = known.get(name.as_str()) {
            return Ok(Arc::clone(client));
        }
        let name = OwnedUniqueName::from(name.to_owned());
        let client = Arc::new(Client {
            held: Held::default(),
            presence: watch::Sender::new(Presence::New),
        });
        known.insert(name.clone(), Arc::clone(&client));
        let introduced = introduce(
            Arc::clone(&self.0),
            connection.clone(),
            name,
            Arc::clone(&client),
        );
        tokio::spawn(introduced);
        Ok(client)
    }
}

impl Registry {
    fn known(&self) -> MutexGuard<'_, HashMap<OwnedUniqueName, Arc<Client>>> {
        // Nothing panics while it is locked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the bus which user `name` is. It may have left before anybody followed it; then there is no answer.
async fn introduce(
    registry: Arc<Registry>,
    connection: Connection,
    name: OwnedUniqueName,
    client: Arc<Client>,
) {
    let presence = match user_of(&connection, &name).await {
        Ok(number) => Presence::Here(User {
            number,
            name: name_of(number).await,
        }),
        Err(error) => {
            log::debug!("{name} is not on the bus any more: {error}");
            registry.known().remove(name.as_str());
            Presence::Gone
        }
    };
    client.presence.send_if_modified(|now| {
        let is_new = matches!(now, Presence::New);
        if is_new {
            *now = presence;
        }
        is_new
    });
}

async fn user_of(connection: &Connection, name: &OwnedUniqueName) -> zbus::Result<u32> {
    let bus = DBusProxy::new(connection).await?;
    let name = BusName::from(name.as_ref());
    Ok(bus.get_connection_unix_user(name).await?)
}

/// The name of a user, or their number.
async fn name_of(number: u32) -> String {
    let named = tokio::task::spawn_blocking(move || {
        nix::unistd::User::from_uid(number.into()).ok().flatten()
    });
    let user = timeout(NAMING, named).await;
    // Nobody with that number is known, or the machine's list of users cannot be read.
    let user = user.ok().and_then(Result::ok).flatten();
    user.map_or_else(|| number.to_string(), |user| user.name)
}

/// Adds one, if there are fewer than `most`; `Err(most)` if not.
fn take(count: &AtomicUsize, most: usize) -> Result<(), usize> {
    let add = |held| (held < most).then_some(held + 1);
    let taken = count.fetch_update(Relaxed, Relaxed, add);
    taken.map(|_| ()).map_err(|_| most)
}

fn gone() -> Error {
    Error::Cancelled("the caller left the bus".into())
}

/// What a client holds, until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives it back"]
pub(super) struct Hold {
    registry: Arc<Registry>,
    client: Arc<Client>,
    kind: Kind,
    /// Whether the client wants a reply.
    is_awaited: bool,
    _holding: watch::Receiver<()>,
}

impl Hold {
    /// Does `work` unless the client leaves the bus before its reply; then `work` is dropped. One that wants no reply
    /// may leave.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Cancelled`] when the client left.
    pub(super) async fn while_there<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if !self.is_awaited {
            return work.await;
        }
        let mut presence = self.client.presence.subscribe();
        tokio::select! {
            done = work => done,
            () = async { drop(presence.wait_for(|it| matches!(it, Presence::Gone)).await) } => Err(gone()),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.registry.held.of(self.kind).fetch_sub(1, Relaxed);
        self.client.held.of(self.kind).fetch_sub(1, Relaxed);
    }
}
