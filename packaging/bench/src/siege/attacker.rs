//! Clients that misuse the daemon, each time in a random way.

use std::{
    collections::HashMap,
    fs::File,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use futures_util::future::join_all;
use gemmad_api::{
    AskOptions, COMMANDS_PATH, CommandsProxy, InvocationStatus, InvokeOptions, MANAGER_PATH,
    ManagerProxy, SERVICE, SayOptions, TranscribeOptions, VoiceProxy,
};
use gemmad_testbed::{Bus, Deaf};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use zbus::{Connection, Message, Variant, message::Flags, proxy::CacheProperties};

use super::arms::Arms;

/// Longest wait for the reply to an abuse.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest pause between two abuses of a client, in ms.
const PAUSE_MS: u64 = 8_000;

/// Maximum number of abuses before a client leaves and another one comes.
const ABUSES: u32 = 20;

/// All attackers at work.
pub struct Attackers {
    /// Dropping it ends them.
    _tasks: JoinSet<()>,
    abuses: Arc<AtomicU64>,
}

impl Attackers {
    /// Starts `count` attackers.
    pub fn lay_siege(bus: &Arc<Bus>, arms: &Arc<Arms>, count: u64) -> Self {
        let abuses = Arc::new(AtomicU64::new(0));
        let attacker = |seed| Attacker {
            bus: bus.clone(),
            arms: arms.clone(),
            abuses: abuses.clone(),
            random: fastrand::Rng::with_seed(seed),
        };
        let tasks = (0..count).map(|seed| attacker(seed).attack()).collect();
        Self {
            _tasks: tasks,
            abuses,
        }
    }

    /// Ends all attackers in the middle of their work; returns the number of abuses.
    pub fn leave(self) -> u64 {
        self.abuses.load(Ordering::Relaxed)
    }
}

/// Ways to misuse the daemon.
#[derive(Debug, Clone, Copy)]
enum Abuse {
    Prompt,
    Schema,
    Catalogue,
    Sound,
    UnreadStream,
    ClosedStream,
    WrongStream,
    Say,
    MuteWhileSaying,
    Halts,
    HaltWhileInvoking,
    Confirmations,
    Tokens,
    Options,
    Reload,
    Devices,
    Listen,
    Deaf,
}

const ALL: [Abuse; 18] = [
    Abuse::Prompt,
    Abuse::Schema,
    Abuse::Catalogue,
    Abuse::Sound,
    Abuse::UnreadStream,
    Abuse::ClosedStream,
    Abuse::WrongStream,
    Abuse::Say,
    Abuse::MuteWhileSaying,
    Abuse::Halts,
    Abuse::HaltWhileInvoking,
    Abuse::Confirmations,
    Abuse::Tokens,
    Abuse::Options,
    Abuse::Reload,
    Abuse::Devices,
    Abuse::Listen,
    Abuse::Deaf,
];

/// An attacker: one client after the other.
struct Attacker {
    bus: Arc<Bus>,
    arms: Arc<Arms>,
    abuses: Arc<AtomicU64>,
    random: fastrand::Rng,
}

impl Attacker {
    /// Misuses the daemon for ever.
    async fn attack(mut self) {
        loop {
            // Also before the first visit, so that not all connect to the bus at the same time.
            self.pause().await;
            // The visit may fail, for example if the bus disconnects the client; then the next one comes.
            let _ = self.visit().await;
        }
    }

    /// One client, from connecting to leaving.
    async fn visit(&mut self) -> Result<()> {
        let mut client = Client::connect(self.bus.clone()).await?;
        for _ in 0..self.random.u32(1..=ABUSES) {
            let abuse = ALL[self.random.usize(..ALL.len())];
            self.abuses.fetch_add(1, Ordering::Relaxed);
            // One in four leaves without waiting for the reply.
            let leaves = self.random.u8(..4) == 0;
            let patience = if leaves {
                Duration::from_millis(self.random.u64(..20))
            } else {
                PATIENCE
            };
            // The reply does not matter: the daemon only has to survive and to serve others.
            let _ = timeout(patience, client.commit(abuse, &self.arms, &mut self.random)).await;
            if leaves {
                break;
            }
            self.pause().await;
        }
        Ok(())
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.u64(..PAUSE_MS))).await;
    }
}

struct Client {
    bus: Arc<Bus>,
    connection: Connection,
    manager: ManagerProxy<'static>,
    voice: VoiceProxy<'static>,
    commands: CommandsProxy<'static>,
    /// Read ends of streams that are never read.
    unread: Vec<OwnedFd>,
    /// Another client, which never reads its replies.
    deaf: Option<Deaf>,
}

impl Client {
    async fn connect(bus: Arc<Bus>) -> Result<Self> {
        let connection = bus.connect(PATIENCE).await?;
        let manager = ManagerProxy::builder(&connection);
        let voice = VoiceProxy::builder(&connection);
        let commands = CommandsProxy::builder(&connection);
        Ok(Self {
            manager: manager
                .cache_properties(CacheProperties::No)
                .build()
                .await?,
            voice: voice.cache_properties(CacheProperties::No).build().await?,
            commands: commands
                .cache_properties(CacheProperties::No)
                .build()
                .await?,
            connection,
            bus,
            unread: Vec::new(),
            deaf: None,
        })
    }

    #[allow(clippy::too_many_lines)] // One arm for each abuse.
    async fn commit(
        &mut self,
        abuse: Abuse,
        arms: &Arms,
        random: &mut fastrand::Rng,
    ) -> Result<()> {
        match abuse {
            Abuse::Prompt => {
                let prompt = &arms.prompts[random.usize(..arms.prompts.len())];
                if random.bool() {
                    self.manager.ask(prompt, few_tokens()).await?;
                } else {
                    self.commands
                        .invoke(prompt, InvokeOptions::default())
                        .await?;
                }
            }
            Abuse::Schema => {
                let schema = arms.schemas[random.usize(..arms.schemas.len())].clone();
                let options = AskOptions {
                    schema: Some(schema),
                    ..few_tokens()
                };
                self.manager.ask("Hello", options).await?;
            }
            Abuse::Catalogue => {
                let text = &arms.catalogues[random.usize(..arms.catalogues.len())];
                self.commands.check("hostile.toml", text).await?;
            }
            Abuse::Sound => {
                let file = File::open(&arms.sounds[random.usize(..arms.sounds.len())])?;
                let descriptor = OwnedFd::from(file);
                if random.bool() {
                    let options = TranscribeOptions::default();
                    self.manager.transcribe(descriptor.into(), options).await?;
                } else {
                    let options = AskOptions {
                        audio: Some(descriptor.into()),
                        ..few_tokens()
                    };
                    self.manager.ask("", options).await?;
                }
            }
            Abuse::UnreadStream => self.unread_streams(random).await?,
            Abuse::ClosedStream => {
                for _ in 0..random.usize(1..6) {
                    let (ours, theirs) = UnixStream::pair()?;
                    let stream = self.manager.stream("Hello", few_tokens(), (&theirs).into());
                    drop(ours);
                    stream.await?;
                }
            }
            Abuse::WrongStream => self.wrong_streams().await,
            Abuse::Say => {
                let text = &arms.speeches[random.usize(..arms.speeches.len())];
                self.voice.say(text, SayOptions::default()).await?;
            }
            Abuse::MuteWhileSaying => {
                let said = self.voice.say("One. Two. Three.", SayOptions::default());
                let muted = self.voice.set_muted(random.bool());
                let _ = tokio::join!(said, muted);
                self.voice.stop().await?;
            }
            Abuse::Halts => {
                join_all((0..30).map(|_| self.commands.halt())).await;
            }
            Abuse::HaltWhileInvoking => {
                let pause = Duration::from_millis(random.u64(..15));
                let text = "move forward two meters";
                let invoked = self.commands.invoke(text, InvokeOptions::default());
                let halted = async {
                    sleep(pause).await;
                    self.commands.halt().await
                };
                let _ = tokio::join!(invoked, halted);
            }
            Abuse::Confirmations => self.confirmations(random).await?,
            Abuse::Tokens => {
                let options = AskOptions {
                    max_tokens: Some([3_000, 1_000_000, u32::MAX][random.usize(..3)]),
                    min_tokens: random.bool().then_some(3_000),
                    ..AskOptions::default()
                };
                self.manager.ask("tell me everything", options).await?;
            }
            Abuse::Options => {
                let options: HashMap<_, _> = [
                    ("max_tokens", Variant::from(-20_i32)),
                    ("temperature", Variant::from("hot")),
                    ("colour", Variant::from(vec![0_u8; 1 << 16])),
                ]
                .into();
                let interface = Some("org.gemmad1.Manager");
                let body = ("Hello", options);
                self.connection
                    .call_method(Some(SERVICE), MANAGER_PATH, interface, "Ask", &body)
                    .await?;
            }
            Abuse::Reload => {
                self.manager.reload().await?;
            }
            Abuse::Devices => {
                join_all((0..10).map(|_| self.voice.devices())).await;
            }
            Abuse::Listen => {
                join_all((0..10).map(|_| self.voice.listen())).await;
            }
            Abuse::Deaf => self.unread_replies(random).await?,
        }
        Ok(())
    }

    /// Streams of one token that is never read; their descriptors stay open until the client leaves.
    async fn unread_streams(&mut self, random: &mut fastrand::Rng) -> Result<()> {
        for _ in 0..5 {
            let (reader, writer) = std::io::pipe()?;
            self.unread.push(reader.into());
            let options = AskOptions {
                max_tokens: Some(if random.bool() { 1 } else { 3_000 }),
                ..AskOptions::default()
            };
            self.manager
                .stream("Hello", options, (&writer).into())
                .await?;
        }
        Ok(())
    }

    /// Calls whose replies are never read or not expected; a second client sends them and stays until this one leaves.
    async fn unread_replies(&mut self, random: &mut fastrand::Rng) -> Result<()> {
        let (path, interface, method) = [
            (COMMANDS_PATH, "org.gemmad1.Commands", "List"),
            (COMMANDS_PATH, "org.gemmad1.Commands", "Halt"),
            (
                MANAGER_PATH,
                "org.freedesktop.DBus.Introspectable",
                "Introspect",
            ),
            (MANAGER_PATH, "org.freedesktop.DBus.Peer", "Ping"),
        ][random.usize(..4)];
        let flags = if random.u8(..4) == 0 {
            Flags::NO_REPLY_EXPECTED
        } else {
            Flags::empty()
        };
        // Each call has its own serial number: the bus refuses a call with the number of a pending one.
        let call = |_| {
            let call = Message::method_call(path, method).destination(SERVICE);
            call.interface(interface).with_flags(flags).build(&())
        };
        let calls: Vec<_> = (0..2_000).map(call).collect::<zbus::Result<_>>()?;
        let deaf = match &mut self.deaf {
            Some(deaf) => deaf,
            none => none.insert(Deaf::connect(&self.bus).await?),
        };
        deaf.send(calls, PATIENCE).await;
        Ok(())
    }

    /// Streams into descriptors that cannot take a stream.
    async fn wrong_streams(&self) {
        let files = ["/dev/null", "/dev/zero", "/proc/self/status"];
        let files = files.into_iter().filter_map(|path| File::open(path).ok());
        let mut wrong: Vec<OwnedFd> = files.map(OwnedFd::from).collect();
        if let Ok((one, other)) = UnixDatagram::pair() {
            wrong.extend([OwnedFd::from(one), OwnedFd::from(other)]);
        }
        if let Ok((reader, _writer)) = std::io::pipe() {
            wrong.push(reader.into());
        }
        for descriptor in wrong {
            let _ = self
                .manager
                .stream("Hello", few_tokens(), descriptor.into())
                .await;
        }
    }

    /// A command that waits, and confirmations of random numbers: its own, those of other clients, and unknown ones.
    async fn confirmations(&self, random: &mut fastrand::Rng) -> Result<()> {
        let text = "set your speed to sixty percent";
        let (_, _, invoked, _) = self.commands.invoke(text, InvokeOptions::default()).await?;
        let waits = invoked
            .iter()
            .find(|it| it.status == InvocationStatus::Unconfirmed);
        let newest = waits.map_or(1_000, |it| it.id);
        let numbers: Vec<_> = (0..50).map(|_| random.u64(..newest + 10)).collect();
        join_all(numbers.into_iter().map(|id| self.commands.confirm(id))).await;
        Ok(())
    }
}

fn few_tokens() -> AskOptions {
    AskOptions {
        max_tokens: Some(8),
        ..AskOptions::default()
    }
}
