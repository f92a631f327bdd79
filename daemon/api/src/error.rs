//! The named errors of the contract.

use zbus::DBusError;

/// Every error a method of gemmad returns, as `org.gemmad1.Error.NAME`. The message says what
/// happened, why, and what to do next; the name is what programs match on.
#[derive(Debug, Clone, PartialEq, DBusError)]
#[zbus(prefix = "org.gemmad1.Error")]
pub enum Error {
    /// The bus failed, or the error is not one of this contract.
    #[zbus(error)]
    Bus(zbus::Error),
    /// No model is loaded: it is still loading, or loading it failed.
    ModelNotLoaded(String),
    /// An argument or option is out of range or makes no sense.
    InvalidArgument(String),
    /// The sound cannot be used: not a known format, empty, too short or too long.
    InvalidAudio(String),
    /// The JSON Schema cannot be compiled, or no value validates against it.
    InvalidSchema(String),
    /// The answer was cut off before it validated against the schema; the message ends with the partial answer, unless
    /// that was streamed.
    Incomplete(String),
    /// Prompt and answer do not fit into the context.
    PromptTooLong(String),
    /// The loaded model cannot do this, for example hear.
    NotSupported(String),
    /// The limit on concurrent work is reached, of this client or of all clients together; try again later.
    Busy(String),
    /// The request was cancelled.
    Cancelled(String),
    /// There is no microphone, or it does not work.
    NoMicrophone(String),
    /// There is no loudspeaker or no synthesiser, or one of them does not work.
    NoSpeech(String),
    /// The configuration file is invalid; the configuration in force stays.
    InvalidConfiguration(String),
    /// The caller may not do this.
    NotAuthorized(String),
    /// An internal failure.
    Failed(String),
}

impl Error {
    /// Builds the error from its D-Bus name (with or without prefix) and message. An unknown name
    /// becomes [`Error::Failed`].
    #[must_use]
    pub fn from_name(name: &str, message: String) -> Self {
        match name.rsplit('.').next().unwrap_or_default() {
            "ModelNotLoaded" => Self::ModelNotLoaded(message),
            "InvalidArgument" => Self::InvalidArgument(message),
            "InvalidAudio" => Self::InvalidAudio(message),
            "InvalidSchema" => Self::InvalidSchema(message),
            "Incomplete" => Self::Incomplete(message),
            "PromptTooLong" => Self::PromptTooLong(message),
            "NotSupported" => Self::NotSupported(message),
            "Busy" => Self::Busy(message),
            "Cancelled" => Self::Cancelled(message),
            "NoMicrophone" => Self::NoMicrophone(message),
            "NoSpeech" => Self::NoSpeech(message),
            "InvalidConfiguration" => Self::InvalidConfiguration(message),
            "NotAuthorized" => Self::NotAuthorized(message),
            _ => Self::Failed(message),
        }
    }
}
