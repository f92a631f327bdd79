//! The clients on the bus: the resources of the daemon that each holds, its user, and whether it is still there.
//!
//! One signal reports every client that leaves. The user of a new client is looked up once, in the background, so that
//! a call that does not need it costs no round trip.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
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

/// Longest lookup of a user's name. A list of users on a network may take longer; then the user's number takes the
/// place of the name.
const NAMING: Duration = Duration::from_secs(1);

/// Longest wait for the caller's name by a call that must not wait, such as `Halt`.
const SOON: Duration = Duration::from_millis(100);

/// A resource that a client holds while the daemon works for it. Calls that are answered at once are not counted.
///
/// A process may have 1024 files open by default. The daemon itself needs 64 at most. Of the rest these limits leave
/// 512 to the programs of commands, so that a halt always has enough descriptors:
///
/// | held | in all | descriptors of each | sum |
/// |---|---|---|---|
/// | [`Self::Sound`] | 32 | the file, twice while its call lasts | 64 |
/// | [`Self::Stream`] | 64 | the pipe and a sound file, twice while its call lasts | 256 |
/// | [`Self::Speech`] | 32 | three pipes and a process | 128 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A question without sound. It is not limited here: it needs one of the engine's places, whose number is
    /// configured.
    Question,
    /// A question about a sound file, or its transcription.
    Sound,
    /// An answer on a pipe, until its last line is written.
    Stream,
    /// A text to speak.
    Speech,
    /// Any other call that takes a while.
    Call,
}

/// The limits of a kind.
struct Bounds {
    /// Most that one client may hold.
    by_one: usize,
    /// Most that all clients together may hold.
    in_all: usize,
    /// Most descriptors that the call carries.
    descriptors: usize,
    /// Its name in messages.
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

/// The clients whose calls took a while or needed their user.
#[derive(Debug, Clone)]
pub(super) struct Clients(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    known: Mutex<HashMap<OwnedUniqueName, Arc<Client>>>,
    held: Held,
    /// Each [`Hold`] has a receiver of it, so it is closed when nothing is held.
    holding: watch::Sender<()>,
    /// Whether the daemon ends and begins no new work.
    stopping: watch::Receiver<bool>,
}

/// The number held of each kind.
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
    /// The lookup of its user is under way.
    New,
    Here(User),
    Gone,
}

/// The user that a client belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// The user's number.
    pub number: u32,
    /// The user's name, or the number if it has none.
    pub name: String,
}

impl Clients {
    /// A registry without clients. While `stopping` is true, no client may hold anything new.
    pub(super) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self(Arc::new(Registry {
            known: Mutex::default(),
            held: Held::default(),
            holding: watch::Sender::new(()),
            stopping,
        }))
    }

    /// Waits until no client holds anything.
    pub(super) async fn released(&self) {
        self.0.holding.closed().await;
    }

    /// Forgets clients that leave, from now on until the connection ends.
    ///
    /// # Errors
    /// When the bus is gone already.
    pub(super) async fn follow(&self, connection: &Connection) -> zbus::Result<()> {
        let bus = DBusProxy::new(connection).await?;
        // The task awaits nothing else between two of these signals, so they never hold up later messages.
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

    /// Checks that new work may begin.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub(super) fn admit(&self) -> Result<(), Error> {
        if *self.0.stopping.borrow() {
            return Err(refusal::engine(&EngineError::Stopping));
        }
        Ok(())
    }

    /// Lets the caller of `header` hold one of `kind` until the returned [`Hold`] is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] when this client or all together hold as many as they may; [`Error::InvalidArgument`] when the
    /// call carries descriptors beyond its arguments; or when the daemon is stopping.
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

    /// The name of the user who calls, or the client's name on the bus if the lookup takes longer than 100 ms. For
    /// calls that must not wait.
    pub(super) async fn user_soon(&self, connection: &Connection, header: &Header<'_>) -> String {
        match timeout(SOON, self.user(connection, header)).await {
            Ok(Ok(user)) => user.name,
            Ok(Err(_)) | Err(_) => header.sender().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// Finds the caller; for a new one, begins the lookup of its user.
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
        // No code panics while it is locked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks up the user of the client `name`. It may have left before its leaving could be noticed; then the bus does not
/// know it.
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

/// The name of a user, or the number as text.
async fn name_of(number: u32) -> String {
    let named = tokio::task::spawn_blocking(move || {
        nix::unistd::User::from_uid(number.into()).ok().flatten()
    });
    let user = timeout(NAMING, named).await;
    // `None`: no user has that number, or the list of users cannot be read in time.
    let user = user.ok().and_then(Result::ok).flatten();
    user.map_or_else(|| number.to_string(), |user| user.name)
}

/// Adds one if the count is below `most`; else returns `Err(most)`.
fn take(count: &AtomicUsize, most: usize) -> Result<(), usize> {
    let add = |held| (held < most).then_some(held + 1);
    let taken = count.fetch_update(Relaxed, Relaxed, add);
    taken.map(|_| ()).map_err(|_| most)
}

fn gone() -> Error {
    Error::Cancelled("the caller left the bus".into())
}

/// A resource that a client holds until this is dropped.
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
    /// Does `work` and drops it if the client leaves the bus before its reply. For a client that wants no reply, the
    /// work goes on.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Cancelled`] when the client has left.
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
