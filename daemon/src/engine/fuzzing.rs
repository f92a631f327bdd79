//! Readers of foreign input that are private to the engine, for the fuzz targets in `daemon/fuzz`.
//!
//! No ordinary build has this module (feature `fuzzing`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde_json::json;

use super::audio::{Encoder, Options, Rows, Spans};
use super::grammar::{Allowed, Grammars};
use super::stop::Stop;
use super::{EngineError, Form, LoadError, ToolCall};
use crate::config;
use crate::engine::ggml::threads::Threads;
use crate::engine::llama::backend;
use crate::engine::llama::gguf::{Header, Kind};
use crate::engine::llama::kv_only;
use crate::engine::llama::model::{Model, Token};
use crate::engine::prompt::conversation::{Content, Conversation, Message, Role};
use crate::engine::prompt::mark::Piece;
use crate::engine::prompt::template::Template;

/// Soft tokens that [`projector`] computes: the usual piece of speech.
const ROWS: usize = 12;

/// Samples in a soft token, at 16 kHz.
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

/// The nano model of this repository, with a compiler of forms for its vocabulary.
#[derive(Debug)]
pub struct Nano {
    model: Arc<Model>,
    grammars: Grammars,
}

impl Nano {
    /// Loads the model.
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
        let model = Arc::new(Model::open(&config, threads()?)?);
        Ok(Self {
            grammars: Grammars::new(&model, None),
            model,
        })
    }

    /// The answer of a model that draws an allowed token for each of `choices`: for 0 the first of the vocabulary, for
    /// 255 one of the last. `None` when the answer is not complete.
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
            let token = self.choose(guide.allowed()?, *choice);
            tokens.push(token);
            tokens.extend(guide.follow(token, self.model.barred())?);
        }
        if !guide.may_end() {
            return Ok(None);
        }
        let bytes: Vec<_> = tokens.iter().flat_map(|it| self.model.bytes(*it)).collect();
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The first allowed token from the one at `choice` / 256 of the vocabulary.
    fn choose(&self, allowed: &Allowed, choice: u8) -> Token {
        let size = Token::try_from(self.model.vocabulary()).unwrap_or(Token::MAX);
        let from = size / 256 * Token::from(choice);
        let mut around = (from..size).chain(0..from);
        // One is allowed.
        around.find(|token| allowed.holds(*token)).unwrap_or(0)
    }
}

/// A prompt that a chat template wrote.
#[derive(Debug, Default)]
pub struct Prompt {
    /// The template's own text, in which control tokens count.
    pub written: String,
    /// Texts of people and tools.
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

/// Renders two prompts with the chat template `source`: a typed question, and a spoken turn with a system prompt and a
/// tool call. Every text of a person or a tool in them is `said`.
///
/// # Errors
/// [`EngineError::Template`] when it is no template, or refuses one of them.
pub fn prompts(source: &str, said: &str) -> Result<Vec<Prompt>, EngineError> {
    let template = Template::new(source, "<bos>".into(), "<eos>".into())?;
    let typed = [Message::new(Role::User, vec![Content::Text(said)])];
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
    let earlier = Message {
        content: vec![Content::Text(said)],
        ..Message::calling(&called)
    };
    let spoken = [
        Message::new(Role::System, vec![Content::Text(said)]),
        Message::new(Role::User, vec![Content::Text(said)]),
        earlier,
        Message::new(Role::User, vec![Content::Audio, Content::Text(said)]),
        Message::calling(&called),
    ];
    let typed = template.render(&Conversation {
        messages: &typed,
        thinking: true,
        ..Conversation::default()
    })?;
    let spoken = template.render(&Conversation {
        messages: &spoken,
        tools: &[tool],
        thinking: false,
    })?;
    Ok([typed, spoken].map(Prompt::of).into())
}

/// Counts of a projector's output for silence.
#[derive(Debug)]
pub struct Heard {
    /// Soft tokens expected.
    pub rows: usize,
    /// Numbers in a soft token.
    pub width: usize,
    /// Numbers computed.
    pub numbers: usize,
}

/// Reads the parts of the text model at `path` that are read before llama.cpp gets the file. Returns the model's name,
/// if it has one.
///
/// # Errors
/// When the header is damaged, or not that of a text model with a chat template.
pub fn text_model(path: &Path) -> Result<Option<String>, LoadError> {
    let header = Header::open(path, Kind::Text)?;
    let source = header.string("tokenizer.chat_template");
    let source = source.ok_or_else(|| EngineError::Template("the file has none".into()))?;
    Template::new(source, String::new(), String::new())?;
    let _ = kv_only::shared_layers(&header);
    Ok(header.string("general.name").map(str::to_owned))
}

/// Loads the projector at `path`, for a text model of the width that its header gives, and encodes half a second of
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
