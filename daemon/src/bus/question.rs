//! Questions of clients: measured on arrival, prepared once they have a place.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use gemmad_api::{AskOptions, Error, Options, TranscribeOptions};

use super::clients::{Hold, Kind};
use super::refusal;
use super::sound::Sounds;
use crate::assistant::Key;
use crate::config::{Config, Fraction, Temperature};
use crate::engine::{self, Engine, EngineError, Form, Limits, Request};
use crate::platform::work;

/// A measured request, with a schema and a sound that are not processed yet. Until it has a place it is no larger than
/// the message it came with.
#[derive(Debug)]
pub(super) struct Question {
    request: Request,
    schema: Option<String>,
    sound: Option<OwnedFd>,
    /// The name of the conversation that it belongs to.
    conversation: Option<String>,
    /// Whether commands that it asks for are carried out.
    acts: bool,
}

impl Question {
    /// A prompt and its options.
    ///
    /// # Errors
    /// [`Error::PromptTooLong`], [`Error::InvalidSchema`], or [`Error::InvalidArgument`] that names the option.
    pub(super) fn ask(
        config: &Config,
        prompt: &str,
        options: Options<AskOptions>,
    ) -> Result<Self, Error> {
        let limits = Limits::new(&config.engine);
        let measured =
            |result: Result<(), EngineError>| result.map_err(|error| refusal::engine(&error));
        measured(limits.check_prompt(prompt.len()))?;
        let options = options.read()?;
        measured(limits.check_system(options.system.as_ref().map_or(0, String::len)))?;
        measured(Limits::check_schema(
            options.schema.as_ref().map_or(0, String::len),
        ))?;
        if config.log.content {
            log::info!("asked: {prompt}");
        }
        let acts = options.commands == Some(true);
        if acts && !is_plain(&options) {
            return Err(Error::InvalidArgument(
                "commands goes with no other option but conversation and max_tokens; leave the others out".into(),
            ));
        }
        let mut request = Request::question(&config.answer, prompt.into());
        if let Some(system) = options.system {
            request.preamble = system.as_str().into();
        }
        // Such answers are to be repeated, or measured.
        let is_repeated = options.seed.is_some()
            || options.min_tokens.is_some()
            || options.protocol == Some(true);
        if !is_repeated {
            request.preamble.now = engine::now(&config.answer);
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
        if let Some(protocol) = options.protocol {
            request.text_only = !protocol;
        }
        if options.schema.is_some()
            && (options.thinking == Some(true) || options.min_tokens.is_some())
        {
            return Err(Error::InvalidArgument(
                "schema goes with neither thinking nor min_tokens; leave them out".into(),
            ));
        }
        if let Some(thinking) = options.thinking {
            request.thinking = thinking;
        }
        if let Some(name) = &options.conversation {
            Key::new(0, name).map_err(|error| refusal::conversation(&error))?;
            if options.audio.is_some() {
                return Err(Error::InvalidArgument(
                    "conversation does not go with audio; leave one out".into(),
                ));
            }
        }
        Ok(Self {
            request,
            schema: options.schema,
            sound: options.audio.map(OwnedFd::from),
            conversation: options.conversation,
            acts,
        })
    }

    /// A sound file to transcribe.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that names the option.
    pub(super) fn transcribe(
        config: &Config,
        sound: OwnedFd,
        options: Options<TranscribeOptions>,
    ) -> Result<Self, Error> {
        let config = &config.transcribe;
        let options = options.read()?;
        let language = match &options.language {
            Some(language) => checked_language(language)?,
            None => &config.language,
        };
        Ok(Self {
            request: Request::transcript(config, language),
            schema: None,
            sound: Some(sound),
            conversation: None,
            acts: false,
        })
    }

    /// Whether commands that it asks for are carried out.
    pub(super) fn acts(&self) -> bool {
        self.acts
    }

    /// The same question, asked by this user.
    pub(super) fn asked_by(mut self, user: String) -> Self {
        self.request.owner = Some(user.into());
        self
    }

    /// The name of the conversation that it belongs to, if any.
    pub(super) fn conversation(&self) -> Option<&str> {
        self.conversation.as_deref()
    }

    /// The kind that its caller holds while it waits for a whole answer.
    pub(super) fn kind(&self) -> Kind {
        match self.sound {
            Some(_) => Kind::Sound,
            None => Kind::Question,
        }
    }

    /// Waits for the model, then compiles the schema and decodes the sound. The caller must have a place.
    ///
    /// # Errors
    /// When there is no model, or the schema or the sound is not valid.
    pub(super) async fn prepared(
        self,
        engine: &Engine,
        sounds: &Sounds,
        hold: &Arc<Hold>,
    ) -> Result<Request, Error> {
        let loaded = engine.loaded().await;
        loaded.map_err(|error| refusal::engine(&error))?;
        let mut request = self.request;
        if let Some(schema) = self.schema {
            request.form = Some(compiled(engine, schema).await?);
        }
        if let Some(sound) = self.sound {
            request = request.about(sounds.hear(sound, Arc::clone(hold)).await?);
        }
        Ok(request)
    }
}

/// The form of an answer that matches `schema`, compiled before the rest of the question costs anything.
async fn compiled(engine: &Engine, schema: String) -> Result<Form, Error> {
    let compiled = async {
        let form = work::run(move || Form::schema(&schema)).await??;
        engine.compile(form.clone()).await?;
        Ok(form)
    };
    compiled
        .await
        .map_err(|error: EngineError| refusal::engine(&error))
}

/// Whether the options are those that a question may have whose answer may be commands: these are given under a form, with
/// a preamble and a sampling of their own.
fn is_plain(options: &AskOptions) -> bool {
    let AskOptions {
        system,
        audio,
        min_tokens,
        temperature,
        top_k,
        top_p,
        seed,
        schema,
        thinking,
        protocol,
        max_tokens: _,
        conversation: _,
        commands: _,
    } = options;
    let of_sampling = temperature.is_some() || top_k.is_some() || top_p.is_some() || seed.is_some();
    let of_form = schema.is_some() || thinking.is_some() || protocol.is_some();
    let of_prompt = system.is_some() || audio.is_some();
    !(of_sampling || of_form || of_prompt || min_tokens.is_some())
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
    // The truncation only rounds to the engine's precision.
    #[allow(clippy::cast_possible_truncation)]
    check(value as f32)
        .ok_or_else(|| Error::InvalidArgument(format!("{option} is {value} but must be {range}")))
}

/// Checks that a language is words. It becomes part of the model's prompt, so it must not carry instructions.
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
