//! What can go wrong in the engine, in words a user can act on.

use std::path::PathBuf;

/// Why a request was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Loading the model failed, so there is nothing to ask.
    #[error("no model is loaded: {0}")]
    ModelNotLoaded(String),
    /// Nothing but white space was asked.
    #[error("the prompt is empty; say or pipe in a question")]
    EmptyPrompt,
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has {rows} tokens but a request may have {capacity}; shorten it or raise [engine] context"
    )]
    PromptTooLong {
        /// Rows of the prompt.
        rows: usize,
        /// Most rows a request may have, one token of answer included.
        capacity: usize,
    },
    /// The model has no audio encoder, or its template no place for sound.
    #[error("the loaded model cannot hear: {0}")]
    Deaf(String),
    /// The sound is too short to make a soft token, or longer than the encoder takes.
    #[error(
        "the sound is {milliseconds} ms long but the model hears clips of 100 ms to 30 s; cut it to fit"
    )]
    ClipLength {
        /// Its length.
        milliseconds: usize,
    },
    /// The text is so long that it is not even tokenised.
    #[error("the text has {bytes} bytes, but more than 1 MiB is not looked at; shorten it")]
    TextTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A grammar or JSON Schema cannot be compiled, or is too complex to be followed.
    #[error("the answer cannot be held to what was asked for: {0}")]
    Grammar(String),
    /// The answer reached its limit before it was what it has to be.
    #[error(
        "the answer was cut off before it was complete{}; allow more tokens",
        so_far(text)
    )]
    Incomplete {
        /// What there is of it, where it was not handed over as it came.
        text: String,
    },
    /// Too many requests are under way.
    #[error(
        "{requests} requests are under way or waiting, as many as [engine] parallel and queue allow; \
         try again later"
    )]
    Busy {
        /// Requests waiting or running.
        requests: u32,
    },
    /// Too many spoken turns are under way.
    #[error(
        "{turns} spoken turns are under way, the one being answered and the next; say it again when the first \
         is answered, or end that with `gemmactl stop`"
    )]
    Listening {
        /// Turns being heard or answered.
        turns: u32,
    },
    /// Somebody asked for an end before there was an answer.
    #[error("it was cancelled")]
    Cancelled,
    /// The engine is going away.
    #[error("the daemon is stopping")]
    Stopping,
    /// The template in the model file could not be rendered.
    #[error(
        "the chat template in the model file cannot be rendered: {0}; use a file converted by a current llama.cpp"
    )]
    Template(String),
    /// llama.cpp failed.
    #[error("llama.cpp failed {doing}: {why}; the journal has more")]
    Llama {
        /// What it was doing.
        doing: &'static str,
        /// Its last error line or code.
        why: String,
    },
}

fn so_far(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(" (so far: {text})"),
    }
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened.
    #[error("cannot open {}: {source}; check [model] in the configuration", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file does not start like a GGUF file.
    #[error("{} is not a GGUF file; download the model again, or convert it with llama.cpp", path.display())]
    NotGguf {
        /// The file.
        path: PathBuf,
    },
    /// The file is GGUF, but not of the kind its place asks for.
    #[error("{} is {found}, but [model] {key} needs {wanted}", path.display())]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// The configuration key.
        key: &'static str,
        /// What the file is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// llama.cpp refused the file.
    #[error("llama.cpp cannot load {}: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// llama.cpp's last error lines.
        why: String,
    },
    /// The projector was made for another text model.
    #[error(
        "{} makes soft tokens of width {projector}, but the text model's width is {text}: the two files belong to different models",
        path.display()
    )]
    Mismatch {
        /// The projector file.
        path: PathBuf,
        /// Width of its output.
        projector: usize,
        /// Width of the text model's input.
        text: usize,
    },
    /// The model is fine, but cannot be served.
    #[error(transparent)]
    Unusable(#[from] EngineError),
}
