//! Errors of other rooms, as the named errors of the contract.

use gemmad_api::Error;
use zbus::DBusError;

use crate::assistant::{ConversationError, VoiceError};
use crate::commands::CommandError;
use crate::commands::timers::TimerError;
use crate::engine::EngineError;
use crate::sound::file::FileError;
use crate::speak::SpeechError;

/// The contract's error for an engine's.
pub(super) fn engine(error: &EngineError) -> Error {
    let message = error.to_string();
    match error {
        EngineError::ModelNotLoaded(_) => Error::ModelNotLoaded(message),
        EngineError::EmptyPrompt => Error::InvalidArgument(message),
        EngineError::PromptTooLong { .. }
        | EngineError::TooLongForMemory { .. }
        | EngineError::TextTooLong { .. } => Error::PromptTooLong(message),
        EngineError::Schema(_) | EngineError::Grammar(_) => Error::InvalidSchema(message),
        EngineError::Incomplete { so_far } => Error::Incomplete(match so_far.reveal() {
            "" => message,
            text => format!("{message} (so far: {text})"),
        }),
        EngineError::Deaf(_) | EngineError::NoTools => Error::NotSupported(message),
        EngineError::ClipLength { .. } => Error::InvalidAudio(message),
        EngineError::Busy { .. } | EngineError::Listening { .. } => Error::Busy(message),
        EngineError::Cancelled | EngineError::Stopping => Error::Cancelled(message),
        EngineError::Template(_)
        | EngineError::Llama { .. }
        | EngineError::NoNumbers
        | EngineError::Barred
        | EngineError::Crashed
        | EngineError::Panicked(_) => Error::Failed(message),
    }
}

/// The contract's error for a sound file's.
pub(super) fn file(error: &FileError) -> Error {
    Error::InvalidAudio(error.to_string())
}

/// The contract's error for the voice's.
pub(super) fn voice(error: &VoiceError) -> Error {
    Error::NoMicrophone(error.to_string())
}

/// The contract's error for a text that was not spoken.
pub(super) fn speech(error: &SpeechError) -> Error {
    match error {
        SpeechError::Failed { said, .. } => {
            Error::NoSpeech(format!("{error}; it said: {}", said.reveal()))
        }
        SpeechError::Stopped => Error::Cancelled(error.to_string()),
        SpeechError::Busy { .. } => Error::Busy(error.to_string()),
        _ => Error::NoSpeech(error.to_string()),
    }
}

/// The contract's error for a command's.
pub(super) fn command(error: &CommandError) -> Error {
    match error {
        CommandError::Off => Error::NotSupported(error.to_string()),
        // The grammar is the daemon's own, not a schema of the caller's.
        CommandError::Engine(EngineError::Grammar(_)) | CommandError::Unfit(_) => {
            Error::Failed(error.to_string())
        }
        CommandError::Engine(error) => engine(error),
        CommandError::Crowded { .. } => Error::Busy(error.to_string()),
        CommandError::NothingToConfirm(_) => Error::InvalidArgument(error.to_string()),
    }
}

/// The contract's error for a conversation's.
pub(super) fn conversation(error: &ConversationError) -> Error {
    let message = error.to_string();
    match error {
        ConversationError::Off => Error::NotSupported(message),
        ConversationError::UnderWay(_) => Error::Busy(message),
        ConversationError::Name | ConversationError::Unknown(_) => Error::InvalidArgument(message),
    }
}

/// The contract's error for a timer's.
pub(super) fn timer(error: TimerError) -> Error {
    let message = error.to_string();
    match error {
        TimerError::TooMany => Error::Busy(message),
        TimerError::TooLong | TimerError::Unknown | TimerError::Name => {
            Error::InvalidArgument(message)
        }
    }
}

/// Name and message of an error, for signals and JSON lines.
pub(super) fn name_and_message(error: &Error) -> (String, String) {
    let message = error.description().unwrap_or_default().to_owned();
    (error.name().to_string(), message)
}
