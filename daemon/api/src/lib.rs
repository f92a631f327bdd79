//! The D-Bus contract of gemmad, between the daemon and its clients.
//!
//! The daemon owns the name [`SERVICE`] and serves five objects:
//!
//! | object | interface | proxy |
//! |---|---|---|
//! | [`MANAGER_PATH`] | `org.gemmad1.Manager` | [`ManagerProxy`] |
//! | [`VOICE_PATH`] | `org.gemmad1.Voice` | [`VoiceProxy`] |
//! | [`COMMANDS_PATH`] | `org.gemmad1.Commands` | [`CommandsProxy`] |
//! | [`TIMERS_PATH`] | `org.gemmad1.Timers` | [`TimersProxy`] |
//! | [`CONVERSATIONS_PATH`] | `org.gemmad1.Conversations` | [`ConversationsProxy`] |
//!
//! This crate does not depend on models or sound, so that a client built on it stays small. The
//! contract is stable: names carry the version (`1`), options and statistics are dictionaries that
//! may grow, and errors have names ([`Error`]).

mod commands;
mod conversations;
mod dict;
mod error;
mod event;
mod manager;
mod options;
mod timers;
mod voice;

pub use commands::{
    CommandInfo, CommandsProxy, Invocation, InvocationStatus, InvokeOptions, Invoked,
    InvokedStream, Outcome, Unconfirmed, UnconfirmedStream,
};
pub use conversations::{ConversationInfo, ConversationsProxy, Message, Role};
pub use dict::{Dict, from_dict, to_dict};
pub use error::Error;
pub use event::{Event, Finish, Stats};
pub use gemmad_text as text;
pub use manager::{
    AskOptions, Health, ManagerProxy, ManagerState, Memory, Passage, PassageKind, TranscribeOptions,
};
pub use options::{FromOptions, Given, Options, Unfit};
pub use timers::{Rang, RangStream, TimerInfo, TimersProxy};
pub use voice::{
    DeviceInfo, DeviceKind, Failed, FailedStream, Keyword, KeywordMeaning, KeywordStream,
    PartialTranscript, PartialTranscriptStream, Reply, ReplyPiece, ReplyPieceStream, ReplyStream,
    SayOptions, SpeechEnded, SpeechEndedStream, SpeechStarted, SpeechStartedStream, Transcript,
    TranscriptStream, VoiceProxy, VoiceState,
};

/// The well-known bus name of the daemon.
pub const SERVICE: &str = "org.gemmad1";

/// Object path of `org.gemmad1.Manager`.
pub const MANAGER_PATH: &str = "/org/gemmad1";

/// Object path of `org.gemmad1.Voice`.
pub const VOICE_PATH: &str = "/org/gemmad1/voice";

/// Object path of `org.gemmad1.Commands`.
pub const COMMANDS_PATH: &str = "/org/gemmad1/commands";

/// Object path of `org.gemmad1.Conversations`.
pub const CONVERSATIONS_PATH: &str = "/org/gemmad1/conversations";

/// Object path of `org.gemmad1.Timers`.
pub const TIMERS_PATH: &str = "/org/gemmad1/timers";
