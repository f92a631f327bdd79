//! Readers of foreign input that only the engine calls, opened to the fuzz targets in `daemon/fuzz`.
//!
//! No ordinary build has this (feature `fuzzing`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde_json::json;

use super::audio::{Encoder, Options, Rows, Spans};
use super::gguf::{Header, Kind};
use super::grammar::{Allowed, Grammars};
use super::model::{Model, Token};
use super::stop::Stop;
use super::template::{Content, Message, Piece, Role, Template};
use super::threads::Threads;
use super::{EngineError, Form, LoadError, ToolCall, backend};
use crate::config;

/// Rows of soft tokens that a projector computes when it is tried out: the usual piece of speech.
const ROWS: usize = 12;

/// Samples in a row, at 16 kHz.
const SAMPLES_IN_ROW: usize = 640;

/// One thread to compute with.
static THREADS: LazyLock<Result<Arc<Threads>, String>> = LazyLock::new(|| {
    backend::start();
    Threads::start(1, Stop::default())
});

fn threads() -> Result<&'static Arc<Threads>, LoadError> {
    let threads = THREADS.as_ref().map_err(|why| EngineError::Llama {
        doing: "starting threads",
        why: why.clone(),
    });
    Ok(threads?)
}

/// The nano model of this repository, whose vocabulary answers are held to a form with.
#[derive(Debug)]
pub struct Nano {
    model: Arc<Model>,
    grammars: Grammars,
}

impl Nano {
    /// Loads it.
    ///
    /// # Errors
    /// When the repository is not where it was compiled.
    pub fn load() -> Result<Self, LoadError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano");
        let config = config::Model {
            text: folder.join("nano-f16.gguf"),
            mmproj: PathBuf::new(),
            ..config::Model::default()
        };
        let model = Arc::new(Model::load(&config, threads()?, &mut |_| true)?);
        Ok(Self {
            grammars: Grammars::new(&model)?,
            model,
        })
    }

    /// The answer of a model that draws, one after the other, the allowed tokens that `choices` say: 0 the first of the
    /// vocabulary, 255 one of the last. `None` when that is no whole answer yet.
    ///
    /// # Errors
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when the form cannot be followed.
    pub fn answer(&self, form: &Form, choices: &[u8]) -> Result<Option<String>, EngineError> {
        let mut guide = self.grammars.compile(form)?.guide();
        let mut tokens = guide.forced()?;
        for choice in choices {
            if guide.is_over() {
                break;
            }
            let token = self.choose(&guide.allowed()?, *choice);
            tokens.push(token);
            tokens.extend(guide.follow(token)?);
        }
        if !guide.may_end() {
            return Ok(None);
        }
        let bytes: Vec<_> = tokens.iter().flat_map(|it| self.model.bytes(*it)).collect();
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The next allowed token from the one that `choice` points at.
    fn choose(&self, allowed: &Allowed, choice: u8) -> Token {
        let size = Token::try_from(self.model.vocabulary()).unwrap_or(Token::MAX);
        let from = size / 256 * Token::from(choice);
        let next = (from..size).find(|token| allowed.holds(*token));
        next.unwrap_or_else(|| allowed.first())
    }
}

/// A prompt that a chat template wrote.
#[derive(Debug, Default)]
pub struct Prompt {
    /// The template's own text, in which control tokens count.
    pub written: String,
    /// What people and tools said.
    pub said: Vec<String>,
}

impl Prompt {
    fn of(pieces: Vec<Piece>) -> Self {
        let mut prompt = Self::default();
        for piece in pieces {
            match piece {
                Piece::Template(text) => prompt.written.push_str(&text),
                Piece::Said(text) => prompt.said.push(text),
                Piece::Audio => {}
            }
        }
        prompt
    }
}

/// Renders with the chat template `source` a typed question, and a spoken turn with a system prompt and a tool that was
/// called. Everything that somebody says in them is `said`.
///
/// # Errors
/// [`EngineError::Template`] when it is no template, or refuses one of them.
pub fn prompts(source: &str, said: &str) -> Result<Vec<Prompt>, EngineError> {
    let template = Template::new(source.to_owned(), "<bos>".into(), "<eos>".into())?;
    let message = |role, content| Message { role, content };
    let typed = [message(Role::User, vec![Content::Text(said)])];
    let spoken = [
        message(Role::System, vec![Content::Text(said)]),
        message(Role::User, vec![Content::Audio, Content::Text(said)]),
    ];
    let tool = json!({
        "type": "function",
        "function": {
            "name": "read",
            "description": "Read something.",
            "parameters": {
                "type": "object",
                "properties": {"what": {"type": "string", "enum": ["list", "note"]}, "lines": {"type": "integer"}},
                "required": ["what"],
            },
        },
    });
    let called = [vec![ToolCall {
        name: "read".into(),
        arguments: [
            ("what".to_owned(), json!(said)),
            ("lines".to_owned(), json!(3)),
        ]
        .into(),
        result: Ok(said.into()),
    }]];
    let typed = template.render(&typed, &[], &[], true)?;
    let spoken = template.render(&spoken, &called, &[tool], false)?;
    Ok([typed, spoken].map(Prompt::of).into())
}

/// What a projector made of some silence.
#[derive(Debug)]
pub struct Heard {
    /// Soft tokens.
    pub rows: usize,
    /// Numbers that each has.
    pub width: usize,
    /// Numbers of all.
    pub numbers: usize,
}

/// Reads of the text model at `path` what is read before llama.cpp gets the file; its name, if it has one.
///
/// # Errors
/// When the header is damaged, or not that of a text model with a chat template.
pub fn text_model(path: &Path) -> Result<Option<String>, LoadError> {
    let header = Header::open(path, Kind::Text)?;
    let source = header.string("tokenizer.chat_template");
    let source = source.ok_or_else(|| EngineError::Template("there is none".into()))?;
    Template::new(source.to_owned(), String::new(), String::new())?;
    let _ = header.u32("gemma4.attention.shared_kv_layers");
    Ok(header.string("general.name").map(str::to_owned))
}

/// Loads the projector at `path`, for a text model of whatever width it is made for, and has it hear half a second of
/// silence.
///
/// # Errors
/// When it cannot be loaded, or ggml fails.
pub fn projector(path: &Path) -> Result<Heard, LoadError> {
    let header = Header::open(path, Kind::Projector)?;
    let width = header.u32("clip.audio.projection_dim").unwrap_or(1) as usize;
    let encoder = Encoder::load(path, width, threads()?, Options::default())?;
    let mut spans = Spans::new(&encoder, Vec::new(), Vec::new());
    spans.push(&vec![0.0; ROWS * SAMPLES_IN_ROW]);
    spans.finish();
    let rows = spans.backlog();
    let mut numbers = 0;
    while let Some(Rows::Soft(piece)) = spans.take(ROWS)? {
        numbers += piece.len();
    }
    Ok(Heard {
        rows,
        width,
        numbers,
    })
}
