//! The engine's errors, in words a user can act on.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::SchemaError;
use super::bounds::LONGEST_TEXT;
use super::megabytes::Megabytes;
use crate::platform::withheld::Withheld;
use crate::platform::work::Panicked;

/// Why a request was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Loading the model failed, so no request can be answered.
    #[error("no model is loaded: {0}")]
    ModelNotLoaded(String),
    /// The prompt is empty or only white space.
    #[error("the prompt is empty; say or pipe in a question")]
    EmptyPrompt,
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has at least {rows} tokens but a request may have {capacity}; shorten it (the model's own length, [engine] context and, for typed questions, longest_question are limits)"
    )]
    PromptTooLong {
        /// Least length of the prompt, tokens and soft tokens: it is refused as soon as it is certain to be too long.
        rows: usize,
        /// Maximum rows of a request, at least one token of answer included.
        capacity: usize,
    },
    /// There is not enough memory for a context of its own.
    #[error(
        "the prompt has {rows} tokens, which take {needed} of memory, but {free} are free; shorten it or end other \
         programs"
    )]
    TooLongForMemory {
        /// Length of the prompt.
        rows: usize,
        /// What it takes at least, a reserve for the rest of the system included.
        needed: Megabytes,
        /// What is free.
        free: Megabytes,
    },
    /// The model has no audio encoder, or its template no place for sound.
    #[error("the loaded model cannot hear: {0}")]
    Deaf(String),
    /// The sound is shorter than 100 ms, or longer than the 30 s that the encoder takes.
    #[error(
        "the sound is {milliseconds} ms long but the model hears clips of 100 ms to 30 s; cut it to fit"
    )]
    ClipLength {
        /// Its length.
        milliseconds: usize,
    },
    /// A text exceeds its limit in bytes; it is refused before it is tokenised.
    #[error("the {what} has {bytes} bytes, but at most {most} are read; shorten it{}", or_raise(*most))]
    TextTooLong {
        /// Which text.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// Maximum length.
        most: usize,
    },
    /// No answer can be constrained by the JSON Schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A grammar, not a client's schema, cannot be compiled or is too complex to be followed.
    #[error("the answer cannot be constrained by its grammar: {0}")]
    Grammar(String),
    /// The answer reached its token limit before it was complete in its grammar.
    #[error("the answer was cut off before it was complete; allow more tokens")]
    Incomplete {
        /// The text so far; empty where it was handed over as it was generated.
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
        "{turns} spoken turns are already under way; try again when the first has been answered, or end it with \
         `gemmactl stop`"
    )]
    Listening {
        /// Turns being heard or answered.
        turns: u32,
    },
    /// The request was cancelled before it was answered.
    #[error("the request was cancelled")]
    Cancelled,
    /// The engine is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// The engine thread panicked.
    #[error("gemmad crashed while answering; ask again once it has restarted")]
    Crashed,
    /// Preparing the request panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The chat template in the model file is no template, or does not do for a conversation.
    #[error(
        "the chat template in the model file cannot be used: {0}; take another publisher's file of this model"
    )]
    Template(String),
    /// The model is to call tools, and its chat template declares none, or its vocabulary has no tokens for calls.
    #[error(
        "the model takes no commands: its chat template or its vocabulary has nothing to call tools with; take a model of \
         Gemma 4"
    )]
    NoTools,
    /// All tokens that may follow in the form of the answer are barred.
    #[error(
        "the answer cannot go on in its form: the model file bars the tokens that it needs \
         (tokenizer.ggml.suppress_tokens); ask without the form, or take another publisher's file of this model"
    )]
    Barred,
    /// No token that may follow has a finite logit.
    #[error(
        "the model computes no numbers, so its file or its projector's is damaged; download both again"
    )]
    NoNumbers,
    /// llama.cpp failed.
    #[error("llama.cpp failed {doing}: {why}; the journal has more")]
    Llama {
        /// What it was doing.
        doing: &'static str,
        /// Its last error line or code.
        why: String,
    },
}

/// Further advice on a text longer than `most` bytes: more context helps only below [`LONGEST_TEXT`].
fn or_raise(most: usize) -> &'static str {
    if most < LONGEST_TEXT {
        ", or raise [engine] context"
    } else {
        ""
    }
}

/// A hint about a path that the sandbox of the packaged unit hides; empty for any other, and elsewhere.
fn hidden(path: &Path) -> &'static str {
    // The service manager sets this variable for the unit.
    hidden_from(std::env::var_os("STATE_DIRECTORY").is_some(), path)
}

fn hidden_from(is_unit: bool, path: &Path) -> &'static str {
    let hides = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
    if is_unit && hides.iter().any(|folder| path.starts_with(folder)) {
        "; the gemmad service cannot see this folder: put models into /var/lib/gemmad"
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
    /// The path names a pipe, a device or a folder instead of a file.
    #[error("{} is {found} and not a file; check [model] in the configuration", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// There is not enough memory for it.
    #[error(
        "{} takes {needed} of memory with a context of {least} tokens, but {free} are free; choose a smaller \
         quantisation or model, end other programs, or set [engine] overcommit", path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What it takes at least, a reserve for the rest of the system included.
        needed: Megabytes,
        /// What is free.
        free: Megabytes,
        /// The smallest context allowed, in tokens.
        least: u32,
    },
    /// The file does not start like a GGUF file.
    #[error("{} is not a GGUF file; download the model again, or convert it with llama.cpp", path.display())]
    NotGguf {
        /// The file.
        path: PathBuf,
    },
    /// The file is GGUF, but not of the kind its configuration key needs.
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
    /// The file is a later part of a model that is cut into several files.
    #[error(
        "{} is not the first part of its model; let [model] {key} name the one with -00001-of- in its name, beside the others",
        path.display()
    )]
    LaterPart {
        /// The file.
        path: PathBuf,
        /// The configuration key.
        key: &'static str,
    },
    /// llama.cpp refused the file.
    #[error("llama.cpp cannot load {}: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// llama.cpp's last error lines.
        why: String,
    },
    /// The projector is for pictures alone, like those of Gemma 3 and of Gemma 4's largest models.
    #[error("{} has no audio encoder; models of Gemma 4 that hear are E2B, E4B and 12B", path.display())]
    NoEncoder {
        /// The projector file.
        path: PathBuf,
    },
    /// The first run of the files failed, and says why.
    #[error("{0}")]
    Failed(String),
    /// The first run of the files crashed.
    #[error(
        "llama.cpp crashes with {} ({signal}: {why}); it or its projector is damaged, or of a kind that this version of \
         gemmad does not know: download both again, or update gemmad",
        path.display()
    )]
    Crashes {
        /// The text model.
        path: PathBuf,
        /// The signal that ended the run.
        signal: Signal,
        /// Its last words.
        why: String,
    },
    /// The first run of the files made no progress.
    #[error(
        "{} makes no progress for {seconds} s; it is damaged, or on a device that hangs: download it again",
        path.display()
    )]
    Hangs {
        /// The text model.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The first run of the files was ended from outside, more than once.
    #[error(
        "loading {} was ended from outside ({signal}), probably because memory ran out; choose a smaller model or \
         quantisation, or lower [engine] context",
        path.display()
    )]
    Killed {
        /// The text model.
        path: PathBuf,
        /// The signal that ended the run.
        signal: Signal,
    },
    /// The first run of the files could not be started.
    #[error(
        "{} is new, and gemmad --probe, which runs such files first, cannot be started: {source}; start gemmad again",
        path.display()
    )]
    NotTried {
        /// The text model.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
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
    /// The engine cannot serve the model, such as for want of memory for its KV cache.
    #[error(transparent)]
    Unusable(#[from] EngineError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_where_the_sandbox_hides_it_is_told_where_models_belong() {
        let hidden = |is_unit, path: &str| hidden_from(is_unit, Path::new(path));
        assert!(hidden(true, "/home/anna/gemma.gguf").contains("/var/lib/gemmad"));
        assert_eq!(hidden(true, "/srv/gemma.gguf"), "");
        assert_eq!(hidden(false, "/home/anna/gemma.gguf"), "");
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
