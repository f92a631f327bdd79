//! What can go wrong in the engine, in words a user can act on.

use std::path::{Path, PathBuf};

use super::SchemaError;
use super::limits::LONGEST_TEXT;
use crate::platform::withheld::Withheld;
use crate::platform::work::Panicked;

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
    /// A text is so long that it is not even tokenised.
    #[error("the {what} has {bytes} bytes, but at most {most} are read; shorten it{}", or_raise(*most))]
    TextTooLong {
        /// Which text.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest that is read.
        most: usize,
    },
    /// No answer can be held to the JSON Schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A grammar of our own cannot be compiled, or is too complex to be followed.
    #[error("the answer cannot be held to its form: {0}")]
    Grammar(String),
    /// The answer reached its limit before it was what it has to be.
    #[error("the answer was cut off before it was complete; allow more tokens")]
    Incomplete {
        /// What there is of it, where it was not handed over as it came.
        so_far: Withheld,
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
    /// The engine thread ended by a fault of its own.
    #[error(
        "gemmad failed while it was answering, by a fault of its own; ask again when it has been started again"
    )]
    Crashed,
    /// Preparing the request failed by a fault of our own.
    #[error(transparent)]
    Panicked(#[from] Panicked),
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

/// What else to do about a text that is longer than `most`.
fn or_raise(most: usize) -> &'static str {
    if most < LONGEST_TEXT {
        ", or raise [engine] context"
    } else {
        ""
    }
}

/// What there is to know of a path that the sandbox of the packaged unit hides.
fn hidden(path: &Path) -> &'static str {
    let hides = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
    if hides.iter().any(|folder| path.starts_with(folder)) {
        "; as a service of the system gemmad sees nothing of this folder: put models into /var/lib/gemmad"
    } else {
        ""
    }
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened.
    #[error("cannot open {}: {source}; check [model] in the configuration{}", path.display(), hidden(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no file under that name, but a pipe, a device or a folder.
    #[error("{} is {found} and not a file; check [model] in the configuration", path.display())]
    NotAFile {
        /// Its name.
        path: PathBuf,
        /// What it is.
        found: &'static str,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_where_the_sandbox_hides_it_is_told_where_models_belong() {
        let unreadable = |path: &str| {
            let source = std::io::ErrorKind::NotFound.into();
            let path = path.into();
            LoadError::Unreadable { path, source }.to_string()
        };
        assert!(unreadable("/home/anna/gemma.gguf").contains("/var/lib/gemmad"));
        assert!(!unreadable("/srv/gemma.gguf").contains("/var/lib/gemmad"));
    }

    #[test]
    fn no_log_line_can_hold_what_there_is_of_an_answer() {
        let so_far = Withheld::from("the code of the door is 1234".to_owned());
        let error = EngineError::Incomplete { so_far };
        for line in [error.to_string(), format!("{error:?}")] {
            assert!(!line.contains("1234") && !line.contains("door"), "{line}");
        }
    }
}
