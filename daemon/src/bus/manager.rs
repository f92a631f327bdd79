//! `org.gemmad1.Manager`.

use std::fs::File;

use gemmad_api::{AskOptions, Dict, Error, ManagerState, TranscribeOptions, to_dict};
use tokio::sync::watch;
use zbus::message::Header;
use zbus::{Connection, OwnedFd, interface};

use super::pipe::Pipe;
use super::{Which, authority, caller, refusal};
use crate::config::{Fraction, Settings, Temperature};
use crate::engine::{Clip, Engine, Form, Grammar, Phase, Request};
use crate::reload::Reloader;
use crate::voice::decode;

/// The object.
pub(super) struct Manager {
    pub which: Which,
    pub settings: Settings,
    pub engine: Engine,
    pub reloader: Reloader,
    pub stopping: watch::Receiver<bool>,
    /// Whoever is writing an answer to a pipe holds a receiver of this.
    pub carrying: watch::Sender<()>,
}

#[interface(name = "org.gemmad1.Manager")]
impl Manager {
    /// Answers `prompt` and returns the whole text and its statistics.
    #[zbus(out_args("text", "stats"))]
    async fn ask(
        &self,
        prompt: String,
        options: AskOptions,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(String, Dict), Error> {
        caller::while_there(connection, &header, async {
            let request = self.question(prompt, options).await?;
            self.whole_answer(request).await
        })
        .await
    }

    /// Answers `prompt` as JSON lines on `fd`; returns the number of the request.
    #[zbus(out_args("request"))]
    async fn stream(&self, prompt: String, options: AskOptions, fd: OwnedFd) -> Result<u64, Error> {
        let pipe = Pipe::new(fd.into())?;
        let answer = tokio::select! {
            answer = async {
                let request = self.question(prompt, options).await?;
                self.engine.submit(request).await.map_err(|error| refusal::engine(&error))
            } => answer?,
            () = pipe.closed() => return Err(Error::Cancelled("the pipe was closed".into())),
        };
        let id = answer.id;
        let carrying = self.carrying.subscribe();
        tokio::spawn(async move {
            pipe.carry(answer).await;
            drop(carrying);
        });
        Ok(id)
    }

    /// Transcribes the sound file behind `fd`.
    #[zbus(out_args("text", "stats"))]
    async fn transcribe(
        &self,
        fd: OwnedFd,
        options: TranscribeOptions,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(String, Dict), Error> {
        caller::while_there(connection, &header, async {
            let config = &self.settings.current().transcribe;
            let language = match &options.language {
                Some(language) => checked_language(language)?,
                None => &config.language,
            };
            let clip = hear(fd).await?;
            self.whole_answer(Request::transcript(config, language).about(clip))
                .await
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
        authority::may_manage(self.which, connection, &header).await?;
        let reloaded = self
            .reloader
            .reload()
            .map_err(|error| Error::InvalidConfiguration(error.to_string()))?;
        Ok((reloaded.changed, reloaded.pending))
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
            Phase::Ready(_) => ManagerState::Ready,
            Phase::Failed(_) => ManagerState::Degraded,
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

    /// Why the state is `degraded`; empty otherwise.
    #[zbus(property)]
    fn problem(&self) -> String {
        match &*self.engine.phase().borrow() {
            Phase::Failed(why) => why.clone(),
            _ => String::new(),
        }
    }

    /// What the engine is carrying now.
    #[zbus(property(emits_changed_signal = "false"))]
    fn health(&self) -> Dict {
        to_dict(&self.engine.health())
    }
}

impl Manager {
    async fn whole_answer(&self, request: Request) -> Result<(String, Dict), Error> {
        let answer = self
            .engine
            .submit(request)
            .await
            .map_err(|error| refusal::engine(&error))?;
        let (text, stats) = answer
            .text()
            .await
            .map_err(|error| refusal::engine(&error))?;
        Ok((text, to_dict(&stats)))
    }

    /// What an answer must look like.
    async fn schema(&self, schema: &str) -> Result<Grammar, Error> {
        let schema = serde_json::from_str(schema)
            .map_err(|error| Error::InvalidSchema(format!("the schema is no JSON: {error}")))?;
        let grammar = self.engine.grammar(Form::Json(schema)).await;
        grammar.map_err(|error| refusal::engine(&error))
    }

    /// The request a prompt and its options make.
    async fn question(&self, prompt: String, options: AskOptions) -> Result<Request, Error> {
        let config = self.settings.current();
        if config.log.content {
            log::info!("asked: {prompt}");
        }
        let mut request = Request::question(&config.answer, prompt);
        if let Some(system) = options.system {
            request.preamble = system.as_str().into();
        }
        if let Some(tokens) = options.max_tokens {
            request.max_tokens = at_least_one("max_tokens", tokens)?;
        }
        if let Some(tokens) = options.min_tokens {
            request.min_tokens = tokens;
        }
        if let Some(temperature) = options.temperature {
            request.sampling.temperature =
                in_range("temperature", "0 to 2", temperature, Temperature::new)?;
        }
        if let Some(top_k) = options.top_k {
            request.sampling.top_k = at_least_one("top_k", top_k)?;
        }
        if let Some(top_p) = options.top_p {
            request.sampling.top_p = in_range("top_p", "above 0, to 1", top_p, Fraction::new)?;
        }
        if let Some(seed) = options.seed {
            request.sampling.seed = seed;
        }
        if let Some(schema) = options.schema {
            if options.thinking == Some(true) || options.min_tokens.is_some() {
                return Err(Error::InvalidArgument(
                    "schema goes with neither thinking nor min_tokens; leave them out".into(),
                ));
            }
            request.grammar = Some(self.schema(&schema).await?);
        }
        if let Some(thinking) = options.thinking {
            request.thinking = thinking;
        }
        if let Some(audio) = options.audio {
            request.clip = Some(hear(audio).await?);
        }
        Ok(request)
    }
}

/// Decodes a client's sound file, away from the threads that serve the bus.
async fn hear(descriptor: OwnedFd) -> Result<std::sync::Arc<Clip>, Error> {
    let file = File::from(std::os::fd::OwnedFd::from(descriptor));
    // Anything but a regular file could keep a thread waiting for as long as its writer likes.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(Error::InvalidArgument(
            "the sound must be a regular file; write a pipe's contents to a file first".into(),
        ));
    }
    let decoded = tokio::task::spawn_blocking(move || decode(file))
        .await
        .map_err(|_| Error::InvalidAudio("the decoder gave up on this file".into()))?;
    let samples = decoded.map_err(|error| refusal::file(&error))?;
    Clip::new(samples).map_err(|error| refusal::engine(&error))
}

fn at_least_one(option: &str, value: u32) -> Result<u32, Error> {
    match value {
        0 => Err(Error::InvalidArgument(format!(
            "{option} must be 1 or more"
        ))),
        value => Ok(value),
    }
}

/// Narrows a D-Bus double to the engine's type, which checks the range.
fn in_range<T>(
    option: &str,
    range: &str,
    value: f64,
    check: impl Fn(f32) -> Option<T>,
) -> Result<T, Error> {
    // Rounding to the engine's precision is all the truncation there is.
    #[allow(clippy::cast_possible_truncation)]
    check(value as f32)
        .ok_or_else(|| Error::InvalidArgument(format!("{option} is {value} but must be {range}")))
}

/// A language goes into the model's instructions, so it must look like one.
fn checked_language(language: &str) -> Result<&str, Error> {
    let is_word = |c: char| c.is_alphabetic() || matches!(c, ' ' | '-' | '(' | ')');
    if (1..=40).contains(&language.chars().count()) && language.chars().all(is_word) {
        Ok(language)
    } else {
        Err(Error::InvalidArgument(
            "language must be an English word for a language, such as German".into(),
        ))
    }
}
