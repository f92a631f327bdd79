//! The real `gemmad`, running on a private bus.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use futures_util::StreamExt;
use gemmad_api::{ManagerProxy, ManagerState, SERVICE, VoiceProxy, VoiceState};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;
use zbus::{Connection, fdo::DBusProxy};

use crate::{
    Binaries, Bus, Error, Loudspeaker, Microphone, Model, no_microphone, process::Process,
};

/// Longest wait for a reply on the connection to the daemon: long enough for a full-size model on a
/// slow machine, and short enough that a hang does not stall a test run for ever.
const PATIENCE: Duration = Duration::from_mins(5);

/// Longest wait for a change of the voice's state.
const SOON: Duration = Duration::from_mins(1);

/// Settings for a daemon to be started.
#[derive(Debug)]
pub struct Setup<'a> {
    bus: &'a Bus,
    binaries: Option<Binaries>,
    config: toml::Table,
    sound: Vec<(&'static str, OsString)>,
    hears: bool,
    env: Vec<(&'static str, OsString)>,
    descriptors: Option<u64>,
    state: ManagerState,
}

impl Setup<'_> {
    /// Lets it hear `microphone` in mode `always`. Without this call there is no microphone, and `[voice] mode`
    /// is `off`.
    #[must_use]
    pub fn microphone(mut self, microphone: &Microphone) -> Self {
        self.sound = microphone.env();
        self.hears = true;
        self.set("voice", "mode", "always")
    }

    /// Lets it speak through `loudspeaker`, and answer spoken turns aloud. Without a call of
    /// [`Setup::microphone`] before, it has no microphone.
    #[must_use]
    pub fn loudspeaker(mut self, loudspeaker: &Loudspeaker) -> Self {
        if !self.hears {
            self.sound = loudspeaker.env();
        }
        self.set("speech", "enabled", true)
    }

    /// Enables the commands of the catalogue in `folder`, without declaring them in the prompt: the model was
    /// trained on them.
    #[must_use]
    pub fn commands(self, folder: &Path) -> Self {
        self.set("commands", "enabled", true)
            .set("commands", "declare", false)
            .set("commands", "folders", vec![folder.display().to_string()])
    }

    /// Lets it listen for a shipped keyword, `hey_gemma` or `stop`, with the meaning `wake` or `halt`.
    #[must_use]
    pub fn keyword(self, word: &str, means: &str) -> Self {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/keyword");
        let keys: [(&str, toml::Value); 2] = [
            ("model", format!("{models}/{word}.onnx").into()),
            ("means", means.into()),
        ];
        let word: toml::Table = keys
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect();
        self.set("keyword", "words", vec![toml::Value::Table(word)])
    }

    /// Lets it hear the machine's own microphone in mode `always`.
    #[must_use]
    pub fn real_microphone(mut self) -> Self {
        self.sound = Vec::new();
        self.set("voice", "mode", "always")
    }

    /// Loads `model` instead of the nano model, with the threads, sampling and prompts of `gemmad.toml`.
    #[must_use]
    pub fn model(mut self, model: &Model) -> Self {
        self.config.remove("engine");
        self.config.remove("answer");
        self.config.remove("transcribe");
        let text = model.text.display().to_string();
        let mmproj = model.mmproj.display().to_string();
        self.set("model", "text", text)
            .set("model", "mmproj", mmproj)
    }

    /// Sets one key of the configuration.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: impl Into<toml::Value>) -> Self {
        set(&mut self.config, section, key, value.into());
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Limits it to `most` open files.
    #[must_use]
    pub fn descriptors(mut self, most: u64) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Uses these programs instead of those of this build.
    #[must_use]
    pub fn binaries(mut self, binaries: Binaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// Makes [`Setup::start`] wait for `state` instead of `ready`.
    #[must_use]
    pub fn until(mut self, state: ManagerState) -> Self {
        self.state = state;
        self
    }

    /// Starts it, and waits until its state is the wanted one.
    ///
    /// # Errors
    /// It is not built, ends, or becomes `ready` or `degraded` instead of the wanted state. Its standard
    /// error is part of the error.
    pub async fn start(self) -> Result<Daemon, Error> {
        let binaries = match self.binaries {
            Some(binaries) => binaries,
            None => Binaries::of_this_build()?,
        };
        let folder = tempfile::tempdir().map_err(Error::file(&std::env::temp_dir()))?;
        let config = folder.path().join("gemmad.toml");
        std::fs::write(&config, self.config.to_string()).map_err(Error::file(&config))?;

        let connection = self.bus.connect(PATIENCE).await?;
        let gemmad = binaries.path("gemmad")?;
        let mut command = match self.descriptors {
            Some(most) => limited(&gemmad, most),
            None => Command::new(gemmad),
        };
        command
            .arg("--config")
            .arg(&config)
            .arg("--session")
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .env("XDG_STATE_HOME", folder.path().join("state"))
            .envs(self.bus.env())
            .envs(self.sound)
            .envs(self.env);
        let mut appears = Appearance::watch(&connection).await?;
        let (mut process, _) = Process::start(command)?;
        tokio::select! {
            appeared = appears.wait() => appeared?,
            _ = process.wait() => return Err(process.not_started()),
        }
        let mut daemon = Daemon {
            manager: ManagerProxy::new(&connection).await?,
            voice: VoiceProxy::new(&connection).await?,
            connection,
            process,
            binaries,
            address: self.bus.address().into(),
            settings: self.config,
            file: config,
            _folder: folder,
        };
        daemon.until(self.state).await?;
        Ok(daemon)
    }
}

/// `program` with a limit of `most` open files, without arguments yet.
fn limited(program: &Path, most: u64) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -n {most} && exec \"$0\" \"$@\""))
        .arg(program);
    command
}

/// A running daemon. It is killed when dropped; [`Daemon::stop`] ends it in order.
#[derive(Debug)]
pub struct Daemon {
    manager: ManagerProxy<'static>,
    voice: VoiceProxy<'static>,
    connection: Connection,
    process: Process,
    binaries: Binaries,
    address: String,
    settings: toml::Table,
    file: PathBuf,
    _folder: TempDir,
}

impl Daemon {
    /// A daemon on `bus` with the nano model, answering greedily, without a microphone.
    #[must_use]
    pub fn setup(bus: &Bus) -> Setup<'_> {
        Setup {
            bus,
            binaries: None,
            config: toml::Table::new(),
            sound: no_microphone(),
            hears: false,
            env: Vec::new(),
            descriptors: None,
            state: ManagerState::Ready,
        }
        .model(&Model::nano())
        // A model this small gains nothing from more threads, and on a busy machine threads that wait
        // for each other lose a lot of time.
        .set("engine", "threads", 1)
        .set("answer", "temperature", 0.0)
        .set("transcribe", "prompt", "Transcribe.")
        .set("voice", "mode", "off")
    }

    /// Its `org.gemmad1.Manager`.
    #[must_use]
    pub fn manager(&self) -> &ManagerProxy<'static> {
        &self.manager
    }

    /// Its `org.gemmad1.Voice`.
    #[must_use]
    pub fn voice(&self) -> &VoiceProxy<'static> {
        &self.voice
    }

    /// The connection these proxies use.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// `gemmactl --session`, without a subcommand yet.
    ///
    /// # Errors
    /// When it is not built.
    pub fn gemmactl(&self) -> Result<Command, Error> {
        let mut command = Command::new(self.binaries.path("gemmactl")?);
        command
            .arg("--session")
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        Ok(command)
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.said()
    }

    /// Waits until its state is `wanted`.
    ///
    /// # Errors
    /// It ends, or settles in another state.
    pub async fn until(&mut self, wanted: ManagerState) -> Result<(), Error> {
        tokio::select! {
            settled = settle(&self.manager, wanted) => {
                let state = settled?;
                if state == wanted {
                    return Ok(());
                }
                Err(Error::State {
                    state: format!("{state:?}").to_lowercase(),
                    wanted: format!("{wanted:?}").to_lowercase(),
                    problem: self.manager.problem().await?,
                    said: self.process.said(),
                })
            }
            _ = self.process.wait() => Err(self.process.not_started()),
        }
    }

    /// Waits until its microphone is open and it waits for speech.
    ///
    /// # Errors
    /// When it has no microphone, or ends.
    pub async fn until_it_listens(&mut self) -> Result<(), Error> {
        tokio::select! {
            problem = listens(&self.voice) => match problem? {
                None => Ok(()),
                Some(problem) => Err(Error::State {
                    state: "deaf".into(),
                    wanted: "listening".into(),
                    problem,
                    said: self.process.said(),
                }),
            },
            _ = self.process.wait() => Err(self.process.not_started()),
        }
    }

    /// Waits until a microphone is open, or until none is.
    ///
    /// # Errors
    /// When the bus is gone.
    pub async fn until_microphone_is(&self, there: bool) -> Result<(), Error> {
        let mut changes = self.voice.receive_device_changed().await;
        while self.voice.device().await?.is_empty() == there {
            changes.next().await;
        }
        Ok(())
    }

    /// Waits until the state of the voice is `wanted`.
    ///
    /// # Errors
    /// The state does not change for a minute and is another one, or the bus is gone.
    pub async fn until_voice_is(&self, wanted: VoiceState) -> Result<(), Error> {
        let mut changes = self.voice.receive_state_changed().await;
        loop {
            let state = self.voice.state().await?;
            if state == wanted {
                return Ok(());
            }
            if timeout(SOON, changes.next()).await.is_err() {
                return Err(Error::State {
                    state: format!("{state:?}"),
                    wanted: format!("{wanted:?}"),
                    problem: self.voice.problem().await?,
                    said: self.process.said(),
                });
            }
        }
    }

    /// Changes one key in its configuration file, without a reload.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(
        &mut self,
        section: &str,
        key: &str,
        value: impl Into<toml::Value>,
    ) -> Result<(), Error> {
        set(&mut self.settings, section, key, value.into());
        std::fs::write(&self.file, self.settings.to_string()).map_err(Error::file(&self.file))
    }

    /// Its process id; `None` once it has ended.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.process.id()
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When its status cannot be had.
    pub async fn wait(&mut self) -> Result<ExitStatus, Error> {
        self.process.wait().await
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When its status cannot be had.
    pub async fn stop(mut self) -> Result<ExitStatus, Error> {
        self.process.signal(Signal::TERM);
        self.process.wait().await
    }
}

fn set(config: &mut toml::Table, section: &str, key: &str, value: toml::Value) {
    let entry = config.entry(section);
    let section = entry.or_insert_with(|| toml::Table::new().into());
    if let Some(section) = section.as_table_mut() {
        section.insert(key.into(), value);
    }
}

impl Drop for Daemon {
    /// Prints the daemon's log if the test has failed.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("gemmad said:\n{}", self.process.said());
        }
    }
}

/// Waits for the state `wanted`, or another one that a daemon does not leave by itself; returns it.
async fn settle(manager: &ManagerProxy<'_>, wanted: ManagerState) -> Result<ManagerState, Error> {
    let mut changes = manager.receive_state_changed().await;
    loop {
        let state = manager.state().await?;
        let moving = matches!(state, ManagerState::Starting | ManagerState::Loading);
        if state == wanted || !moving {
            return Ok(state);
        }
        changes.next().await;
    }
}

/// Waits until the voice is not `Off`; returns its problem instead if it has one.
async fn listens(voice: &VoiceProxy<'_>) -> Result<Option<String>, Error> {
    let mut states = voice.receive_state_changed().await;
    let mut problems = voice.receive_problem_changed().await;
    loop {
        if voice.state().await? != VoiceState::Off {
            return Ok(None);
        }
        let problem = voice.problem().await?;
        if !problem.is_empty() {
            return Ok(Some(problem));
        }
        tokio::select! {
            _ = states.next() => {}
            _ = problems.next() => {}
        }
    }
}

/// Watches for the daemon's name on the bus.
struct Appearance(zbus::fdo::NameOwnerChangedStream);

impl Appearance {
    async fn watch(connection: &Connection) -> Result<Self, Error> {
        let bus = DBusProxy::new(connection).await?;
        let changes = bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]);
        Ok(Self(changes.await?))
    }

    async fn wait(&mut self) -> Result<(), Error> {
        while let Some(change) = self.0.next().await {
            if change.args()?.new_owner().is_some() {
                return Ok(());
            }
        }
        Err(
            zbus::Error::InputOutput(std::sync::Arc::new(std::io::ErrorKind::BrokenPipe.into()))
                .into(),
        )
    }
}
