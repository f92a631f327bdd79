//! `org.gemmad1.Manager`.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use gemmad_api::{
    AskOptions, Dict, Error, Health, ManagerState, Memory, Options, Passage, TranscribeOptions,
    to_dict,
};
use tokio::sync::watch;
use zbus::message::Header;
use zbus::{Connection, OwnedFd, interface};

use super::clients::{Clients, Hold, Kind};
use super::pipe::{self, Pipe};
use super::question::Question;
use super::sound::Sounds;
use super::{Which, authority, refusal, terms};
use crate::assistant::typed::{self, TypedAnswer};
use crate::assistant::{ConversationError, Conversations, Key, UnderWay};
use crate::commands::{Arrival, Commands, Dialogue, Origin};
use crate::config::{self, Settings};
use crate::engine::{Engine, EngineError, Phase, Place};
use crate::platform::memory;
use crate::reload::Reloader;

/// The object.
pub(super) struct Manager {
    pub which: Which,
    pub settings: Settings,
    pub engine: Engine,
    pub conversations: Conversations,
    pub commands: Commands,
    pub reloader: Reloader,
    pub clients: Clients,
    pub sounds: Sounds,
    pub stopping: watch::Receiver<bool>,
}

#[interface(name = "org.gemmad1.Manager")]
impl Manager {
    /// Answers `prompt` and returns the whole text and its statistics.
    #[zbus(out_args("text", "stats"))]
    async fn ask(
        &self,
        prompt: &str,
        options: Options<AskOptions>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(String, Dict), Error> {
        // Taken before the first await: a halt that comes meanwhile applies to this question too.
        let arrival = self.commands.arrival(Instant::now());
        let question = Question::ask(&self.settings.current(), prompt, options)?;
        let hold = self.clients.hold(connection, &header, question.kind())?;
        let user = self.clients.user_soon(connection, &header).await;
        let dialogue = self.acting(&question, arrival, connection, &header).await?;
        let under_way = self.go_on(&question, connection, &header).await?;
        self.whole_answer(question.asked_by(user), under_way, dialogue, hold)
            .await
    }

    /// Answers `prompt` as JSON lines on `fd`; returns the number of the request.
    #[zbus(out_args("request"))]
    async fn stream(
        &self,
        prompt: &str,
        options: Options<AskOptions>,
        fd: OwnedFd,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<u64, Error> {
        let arrival = self.commands.arrival(Instant::now());
        let question = Question::ask(&self.settings.current(), prompt, options)?;
        let pipe = Pipe::new(fd.into())?;
        let hold = Arc::new(self.clients.hold(connection, &header, Kind::Stream)?);
        let user = self.clients.user_soon(connection, &header).await;
        let dialogue = self.acting(&question, arrival, connection, &header).await?;
        let under_way = self.go_on(&question, connection, &header).await?;
        let answer = tokio::select! {
            answer = self.answer(question.asked_by(user), under_way, dialogue, &hold) => answer?,
            () = pipe.closed() => return Err(Error::Cancelled("the pipe was closed".into())),
        };
        let id = answer.id();
        tokio::spawn(async move {
            pipe.carry(answer, pipe::PATIENCE).await;
            drop(hold);
        });
        Ok(id)
    }

    /// Transcribes the sound file behind `fd`.
    #[zbus(out_args("text", "stats"))]
    async fn transcribe(
        &self,
        fd: OwnedFd,
        options: Options<TranscribeOptions>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(String, Dict), Error> {
        let question = Question::transcribe(&self.settings.current(), fd.into(), options)?;
        let hold = self.clients.hold(connection, &header, question.kind())?;
        self.whole_answer(question, None, None, hold).await
    }

    /// What the model would read of `prompt`.
    #[zbus(out_args("passages"))]
    async fn render(
        &self,
        prompt: &str,
        options: Options<AskOptions>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Passage>, Error> {
        let question = Question::ask(&self.settings.current(), prompt, options)?;
        let hold = Arc::new(self.clients.hold(connection, &header, question.kind())?);
        let look = |key, limits: &_| self.conversations.look(&key, limits, SystemTime::now());
        let conversation = self.of_conversation(&question, connection, &header, look);
        let conversation = conversation.await?;
        hold.while_there(async {
            let place = self.admit()?;
            let force = self.commands.force().filter(|_| question.acts());
            let mut request = question.prepared(&self.engine, &self.sounds, &hold).await?;
            if let Some(force) = &force {
                request = force.asking(request);
            }
            if let Some(mut conversation) = conversation {
                let acts = force.is_some();
                typed::recall(&self.engine, &mut request, &mut conversation, acts);
            }
            let rendered = self.engine.render_at(place, request).await;
            let passages = rendered.map_err(|error| refusal::engine(&error))?;
            Ok(passages.into_iter().map(Passage::from).collect())
        })
        .await
    }

    /// Reads the configuration file again; returns the keys that changed and those that wait for a
    /// restart.
    #[zbus(out_args("changed", "pending"))]
    async fn reload(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(Vec<String>, Vec<String>), Error> {
        let call = self.clients.hold(connection, &header, Kind::Call)?;
        let allowed = authority::may_manage(self.which, &self.clients, connection, &header);
        call.while_there(allowed).await?;
        // Once begun, a reload goes on even if the caller leaves.
        let reloaded = self.reloader.clone().reload().await;
        let reloaded = reloaded.map_err(|error| Error::InvalidConfiguration(error.to_string()))?;
        Ok((reloaded.changed, reloaded.pending))
    }

    /// Loads the configured model, unless it is in memory; returns once it is.
    async fn load_model(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        self.managing(connection, &header, async {
            let engine = self.engine.clone();
            // Files may be slow.
            let looked = tokio::task::spawn_blocking(move || engine.load_newest());
            looked.await.map_err(|_| EngineError::Stopping)?;
            // After that its phase is not that of a model which is to go.
            self.engine.beat().await;
            self.engine.loaded().await
        })
        .await
    }

    /// Gives back the memory of the model, once what was asked of it is answered; returns then.
    async fn unload_model(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        self.managing(connection, &header, self.engine.unload())
            .await
    }

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    #[allow(clippy::unused_self)] // A property is read from its object.
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// What the daemon is doing.
    #[zbus(property)]
    fn state(&self) -> ManagerState {
        if *self.stopping.borrow() {
            return ManagerState::Stopping;
        }
        match &*self.engine.phase().borrow() {
            Phase::Starting => ManagerState::Starting,
            Phase::Loading(_) => ManagerState::Loading,
            Phase::Ready(_) if self.is_scarce() => ManagerState::Degraded,
            Phase::Ready(_) => ManagerState::Ready,
            Phase::Failed(_) => ManagerState::Degraded,
            Phase::Unloading => ManagerState::Unloading,
            Phase::Unloaded => ManagerState::Unloaded,
        }
    }

    /// Name of the loaded model; empty while none is loaded.
    #[zbus(property)]
    fn model(&self) -> String {
        match &*self.engine.phase().borrow() {
            Phase::Ready(ready) => ready.name().to_owned(),
            _ => String::new(),
        }
    }

    /// Why the loaded model hears nothing; empty if it hears, and while none is loaded.
    #[zbus(property)]
    fn deaf(&self) -> String {
        match &*self.engine.phase().borrow() {
            Phase::Ready(ready) => ready.deaf().unwrap_or_default(),
            _ => String::new(),
        }
    }

    /// Why the state is `degraded`; empty otherwise.
    #[zbus(property)]
    fn problem(&self) -> String {
        match &*self.engine.phase().borrow() {
            Phase::Failed(why) => why.clone(),
            Phase::Ready(_) => {
                let scarcity = *self.engine.scarcity().borrow();
                scarcity.map(|why| why.to_string()).unwrap_or_default()
            }
            _ => String::new(),
        }
    }

    /// Memory that the model takes, and that is left.
    #[zbus(property(emits_changed_signal = "false"))]
    fn memory(&self) -> Dict {
        let planned = match &*self.engine.phase().borrow() {
            Phase::Ready(ready) => ready.bytes(),
            _ => 0,
        };
        to_dict(&Memory {
            planned,
            available: memory::available().unwrap_or(0),
        })
    }

    /// What the engine is carrying now.
    #[zbus(property(emits_changed_signal = "false"))]
    fn health(&self) -> Dict {
        to_dict(&Health::from(self.engine.health()))
    }
}

impl Manager {
    /// Whether memory is scarce.
    fn is_scarce(&self) -> bool {
        self.engine.scarcity().borrow().is_some()
    }

    /// The whole answer. Dropped if the caller leaves.
    async fn whole_answer(
        &self,
        question: Question,
        under_way: Option<UnderWay>,
        dialogue: Option<Dialogue>,
        hold: Hold,
    ) -> Result<(String, Dict), Error> {
        let hold = Arc::new(hold);
        let answering = async {
            let mut answer = self.answer(question, under_way, dialogue, &hold).await?;
            let answered = answer.text().await;
            let (text, stats) = answered.map_err(|error| refusal::engine(&error))?;
            Ok((text, to_dict(&terms::stats(stats, &answer))))
        };
        hold.while_there(answering).await
    }

    /// Does `work`, if the caller may manage the daemon, as long as the caller is there.
    async fn managing(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        work: impl Future<Output = Result<(), EngineError>>,
    ) -> Result<(), Error> {
        let call = self.clients.hold(connection, header, Kind::Call)?;
        call.while_there(async {
            authority::may_manage(self.which, &self.clients, connection, header).await?;
            work.await.map_err(|error| refusal::engine(&error))
        })
        .await
    }

    fn admit(&self) -> Result<Place, Error> {
        let place = self.engine.admit();
        place.map_err(|error| refusal::engine(&error))
    }

    /// Takes a place, and only then prepares and submits `question`.
    async fn answer(
        &self,
        question: Question,
        under_way: Option<UnderWay>,
        dialogue: Option<Dialogue>,
        hold: &Arc<Hold>,
    ) -> Result<TypedAnswer, Error> {
        let place = self.admit()?;
        let mut request = question.prepared(&self.engine, &self.sounds, hold).await?;
        if let Some(dialogue) = &dialogue {
            request = dialogue.force().asking(request);
        }
        let answer = typed::ask(&self.engine, place, request, under_way, dialogue).await;
        answer.map_err(|error| refusal::engine(&error))
    }

    /// The dialogue that carries out commands which `question` asks for, if it may ask for any and there are any.
    async fn acting(
        &self,
        question: &Question,
        arrival: Arrival,
        connection: &Connection,
        header: &Header<'_>,
    ) -> Result<Option<Dialogue>, Error> {
        let Some(force) = self.commands.force().filter(|_| question.acts()) else {
            return Ok(None);
        };
        let user = self.clients.user(connection, header).await?.name;
        let origin = Origin::Text { user };
        Ok(Some(self.commands.begin(&force, &origin, arrival, false)))
    }

    /// Begins an exchange in the conversation that `question` belongs to, if it belongs to one.
    async fn go_on(
        &self,
        question: &Question,
        connection: &Connection,
        header: &Header<'_>,
    ) -> Result<Option<UnderWay>, Error> {
        let begin = |key, limits: &_| self.conversations.begin(key, limits, SystemTime::now());
        self.of_conversation(question, connection, header, begin)
            .await
    }

    /// Does this with the conversation that `question` belongs to, if it belongs to one.
    async fn of_conversation<T>(
        &self,
        question: &Question,
        connection: &Connection,
        header: &Header<'_>,
        work: impl FnOnce(Key, &config::Conversation) -> Result<T, ConversationError>,
    ) -> Result<Option<T>, Error> {
        let Some(name) = question.conversation() else {
            return Ok(None);
        };
        // A name alone may be that of another user's client.
        let user = self.clients.user(connection, header).await?.number;
        let limits = &self.settings.current().conversation;
        let done = Key::new(user, name).and_then(|key| work(key, limits));
        done.map(Some)
            .map_err(|error| refusal::conversation(&error))
    }
}
