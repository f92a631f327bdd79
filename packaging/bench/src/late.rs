//! Commands that are halted at random moments. A command asked for before `Halt` must not begin after its reply.
//!
//! A round sends a few calls in a random order and at random moments, and then `Halt`, all on one connection, so
//! that the daemon receives them in that order. The actions connect to a socket here. Those connected before the
//! reply to `Halt` began in time; those that connect after it, until all other replies have come, are late.

use std::{
    collections::HashSet,
    io::ErrorKind,
    num::NonZeroU32,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use gemmad_api::{
    COMMANDS_PATH, Dict, Invocation, InvocationStatus, InvokeOptions, MANAGER_PATH, Outcome,
    SERVICE,
};
use gemmad_testbed::{Bus, Daemon, Model};
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};
use xtask::command::root;
use zbus::{Connection, Message, MessageStream, Type};

use crate::{figure::Figure, setting::Bench};

/// Number of rounds.
const ROUNDS: u32 = 1_000;

/// Maximum time for a round, within which every reply has to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longest pause between two calls, in ms: about the nano model's time for a command.
const PAUSE_MS: u64 = 20;

/// The texts: an action that goes on until it is halted, one that ends at once, two in sequence, and one
/// that has to be confirmed.
const TEXTS: [&str; 4] = [
    "move forward two meters",
    "turn left",
    "raise your arm and look up",
    "set your speed to sixty percent",
];

/// Counts the actions that begin after the reply to `Halt`.
pub async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let bus = Bus::start().await?;
    let folder = tempfile::tempdir()?;
    let robot = Robot::new(folder.path())?;
    let setup = Daemon::setup(&bus).binaries(bench.binaries.clone());
    let daemon = setup.commands(&robot.folder).start().await?;
    let mut rounds = Rounds {
        calls: Calls::new(bus.connect(PATIENCE).await?),
        robot,
        random: fastrand::Rng::with_seed(1),
        version: 0,
        waiting: None,
    };
    let (mut in_time, mut late) = (0, 0);
    for nth in 0..ROUNDS {
        let round = timeout(PATIENCE, rounds.next()).await;
        let begun = round.map_err(Into::into).and_then(|begun| begun);
        let begun =
            begun.with_context(|| format!("in round {nth}; gemmad said:\n{}", daemon.log()))?;
        in_time += begun.in_time;
        late += begun.late;
    }
    let figure = Figure::new("late_starts", "", vec![f64::from(late)], &Model::nano())?;
    Ok(vec![figure.goal("= 0").meaning(&format!(
        "Actions that began after the reply to `Halt`, of commands that were invoked or confirmed before it, in \
         {ROUNDS} random orders of `Invoke`, `Confirm`, `Reload` and `Halt`; {in_time} began before."
    ))])
}

/// The robot's catalogue, and the socket that its actions connect to.
struct Robot {
    folder: PathBuf,
    socket: PathBuf,
    actions: UnixListener,
}

impl Robot {
    fn new(folder: &Path) -> Result<Self> {
        let socket = folder.join("actions");
        let actions = UnixListener::bind(&socket)
            .with_context(|| format!("cannot listen at {}", socket.display()))?;
        actions.set_nonblocking(true)?;
        let robot = Self {
            folder: folder.join("commands"),
            socket,
            actions,
        };
        std::fs::create_dir(&robot.folder)?;
        robot.write(0)?;
        Ok(robot)
    }

    /// Writes its catalogue, which differs for each `version`.
    fn write(&self, version: u32) -> Result<()> {
        let shipped = root().join("configs/commands/robot.toml");
        let text = std::fs::read_to_string(&shipped)
            .with_context(|| format!("cannot read {}", shipped.display()))?;
        let socket = self.socket.display();
        let goes_on =
            format!("action.socket = {{ path = \"{socket}\", reply = true, timeout_ms = 5000 }}\n");
        let ends = format!("action.socket = {{ path = \"{socket}\" }}\n");
        let lines = [
            ("move", goes_on),
            ("turn", ends.clone()),
            ("move_arm", ends.clone()),
            ("look", ends.clone()),
            ("set_speed", format!("{ends}confirm = true\n")),
        ];
        let described = format!("description = \"{version}: ");
        let text = text.replacen("description = \"", &described, 1);
        let text = lines.iter().fold(text, |text, (command, lines)| {
            let head = format!("[commands.{command}]\n");
            text.replace(&head, &format!("{head}{lines}"))
        });
        std::fs::write(self.folder.join("robot.toml"), text)?;
        Ok(())
    }

    /// Number of actions that have begun since the last call.
    fn begun(&self) -> Result<u32> {
        let mut begun = 0;
        loop {
            match self.actions.accept() {
                Ok(_) => begun += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(begun),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Numbers of actions that began in a round.
struct Begun {
    in_time: u32,
    late: u32,
}

/// State of the rounds.
struct Rounds {
    calls: Calls,
    robot: Robot,
    random: fastrand::Rng,
    /// Version of the catalogue.
    version: u32,
    /// A command of this round that waits to be confirmed.
    waiting: Option<u64>,
}

impl Rounds {
    async fn next(&mut self) -> Result<Begun> {
        self.waiting = None;
        for _ in 0..self.random.u32(1..=4) {
            self.step().await?;
            let pause = Duration::from_millis(self.random.u64(..PAUSE_MS));
            self.replies_within(pause).await?;
        }
        let halt = self
            .calls
            .send(COMMANDS_PATH, "Commands", "Halt", &())
            .await?;
        while self.calls.awaits(halt) {
            self.reply().await?;
        }
        let in_time = self.robot.begun()?;
        // The halt has dropped it, so this confirmation comes too late.
        if self.waiting.is_some() && self.random.bool() {
            self.confirm().await?;
        }
        while self.calls.awaits_any() {
            self.reply().await?;
        }
        let late = self.robot.begun()?;
        Ok(Begun { in_time, late })
    }

    async fn step(&mut self) -> Result<()> {
        match self.random.u8(..6) {
            0 => {
                self.version += 1;
                self.robot.write(self.version)?;
                self.calls
                    .send(MANAGER_PATH, "Manager", "Reload", &())
                    .await?;
            }
            1 | 2 if self.waiting.is_some() => self.confirm().await?,
            _ => {
                let text = TEXTS[self.random.usize(..TEXTS.len())];
                let body = (text, InvokeOptions::default());
                self.calls
                    .send(COMMANDS_PATH, "Commands", "Invoke", &body)
                    .await?;
            }
        }
        Ok(())
    }

    async fn confirm(&mut self) -> Result<()> {
        let id = self.waiting.unwrap_or_default();
        self.calls
            .send(COMMANDS_PATH, "Commands", "Confirm", &id)
            .await?;
        Ok(())
    }

    /// Takes the replies that come within `time`.
    async fn replies_within(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Ok(reply) = timeout_at(end, self.calls.reply()).await {
            self.note(&reply?);
        }
        Ok(())
    }

    async fn reply(&mut self) -> Result<()> {
        let reply = self.calls.reply().await?;
        self.note(&reply);
        Ok(())
    }

    /// Remembers the command that waits to be confirmed according to a reply. Refusals and replies to other calls are
    /// ignored.
    fn note(&mut self, reply: &Message) {
        type Invoked = (Outcome, String, Vec<Invocation>, Dict);
        if let Ok((_, _, invoked, _)) = reply.body().deserialize::<Invoked>() {
            let mut waiting = invoked.iter();
            let waiting = waiting.find(|it| it.status == InvocationStatus::Unconfirmed);
            self.waiting = waiting.map(|it| it.id).or(self.waiting);
        }
    }
}

/// Calls in a known order: each is sent before the next one.
struct Calls {
    connection: Connection,
    messages: MessageStream,
    awaited: HashSet<NonZeroU32>,
}

impl Calls {
    fn new(connection: Connection) -> Self {
        Self {
            messages: MessageStream::from(&connection),
            connection,
            awaited: HashSet::new(),
        }
    }

    /// Sends a call; returns its serial number.
    async fn send(
        &mut self,
        path: &str,
        interface: &str,
        method: &str,
        body: &(impl Serialize + Type),
    ) -> Result<NonZeroU32> {
        let call = Message::method_call(path, method)
            .destination(SERVICE)
            .interface(format!("{SERVICE}.{interface}"))
            .build(body)?;
        self.connection.send(&call).await?;
        let number = call.primary_header().serial_num();
        self.awaited.insert(number);
        Ok(number)
    }

    fn awaits(&self, call: NonZeroU32) -> bool {
        self.awaited.contains(&call)
    }

    fn awaits_any(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// The next reply to a call.
    async fn reply(&mut self) -> Result<Message> {
        loop {
            let message = self.messages.next().await.context("the bus has gone")??;
            let answered = message.header().reply_serial();
            if answered.is_some_and(|call| self.awaited.remove(&call)) {
                return Ok(message);
            }
        }
    }
}
