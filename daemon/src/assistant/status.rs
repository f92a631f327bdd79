//! The state of hearing and speaking.

/// What the voice is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Not listening: switched off, muted, or without a microphone.
    #[default]
    Off,
    /// Waiting for speech.
    Waiting,
    /// Hearing an utterance, or expecting one: after the wake word, or as a follow-up to an answer.
    Listening,
    /// The model is working on the utterance.
    Thinking,
    /// The answer is being spoken.
    Speaking,
}

/// The state of the voice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Whether the microphone is muted.
    pub muted: bool,
    /// The microphone in use.
    pub device: Option<String>,
    /// Why something that should be heard is not.
    pub problem: Option<String>,
    /// Of that, why the wanted microphone is not open.
    pub no_microphone: Option<String>,
    /// The loudspeaker in use.
    pub loudspeaker: Option<String>,
    /// Why nothing can be said.
    pub speech_problem: Option<String>,
}

impl Status {
    /// Whether there is a microphone to listen with.
    pub(super) fn may_hear(&self) -> Result<(), VoiceError> {
        if self.muted {
            return Err(VoiceError::Muted);
        }
        match &self.no_microphone {
            Some(problem) => Err(VoiceError::NoMicrophone(problem.clone())),
            None => Ok(()),
        }
    }
}

/// Why the voice cannot listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoiceError {
    /// The configuration says so.
    #[error(
        "the microphone is switched off; set [voice] mode to \"push\", \"wake\" or \"always\" and `gemmactl reload`"
    )]
    Off,
    /// It is muted.
    #[error("the microphone is muted; `gemmactl unmute` opens it")]
    Muted,
    /// There is none, or it does not work.
    #[error("{0}")]
    NoMicrophone(String),
}
