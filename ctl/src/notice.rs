//! Signals and properties of `Voice`, as notices in the order in which they happened.

use futures_util::{Stream, StreamExt, stream};
use gemmad_api::{
    Dict, Failed, Keyword, KeywordMeaning, PartialTranscript, Reply, ReplyPiece, SpeechEnded,
    SpeechStarted, Stats, Transcript, VoiceProxy, VoiceState, from_dict,
};
use serde::Serialize;
use zbus::Message;

use crate::failure::Failure;

/// A signal or a change of a property of `Voice`. As JSON an object with a `type`.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Notice {
    /// An utterance began.
    SpeechStarted { utterance: u64 },
    /// The utterance ended.
    SpeechEnded { utterance: u64, milliseconds: u32 },
    /// Transcript of the utterance so far, while it goes on.
    PartialTranscript { utterance: u64, text: String },
    /// Transcript of the utterance.
    Transcript { utterance: u64, text: String },
    /// More of the answer to the utterance.
    ReplyPiece { utterance: u64, text: String },
    /// Answer to the utterance.
    Reply {
        utterance: u64,
        text: String,
        stats: Stats,
    },
    /// A keyword was heard, which is recognised without the language model.
    Keyword {
        word: String,
        meaning: KeywordMeaning,
        score: f64,
    },
    /// The utterance got no answer, for this reason.
    Failed {
        utterance: u64,
        name: String,
        message: String,
    },
    /// The new state of the voice.
    State { state: VoiceState },
    /// The microphone in use; empty if none is open.
    Device { name: String },
    /// The problem with the microphone; empty once there is none.
    Problem { message: String },
    /// The daemon left the bus.
    Gone,
}

/// All notices from now on, beginning with the current properties.
pub async fn notices(
    voice: &VoiceProxy<'static>,
) -> Result<impl Stream<Item = Notice> + Unpin + use<>, Failure> {
    // One stream for all signals, so that they arrive in the order in which they were sent.
    let signals = voice.inner().receive_all_signals().await?;
    let signals = signals
        .filter_map(async |message| Notice::from_signal(&message))
        .chain(stream::iter([Notice::Gone]));
    let owners = voice.inner().receive_owner_changed().await?;
    let gone = owners.filter_map(async |owner| owner.is_none().then_some(Notice::Gone));
    // Reading one property fills the cache, from which the streams of properties take their first values.
    voice.state().await?;
    let states = voice
        .receive_state_changed()
        .await
        .filter_map(async |change| change.get().await.ok().map(|state| Notice::State { state }));
    let devices = voice
        .receive_device_changed()
        .await
        .filter_map(async |change| change.get().await.ok().map(|name| Notice::Device { name }));
    let problems = voice
        .receive_problem_changed()
        .await
        .filter_map(async |change| {
            change
                .get()
                .await
                .ok()
                .map(|message| Notice::Problem { message })
        });
    let properties = stream::select_all([
        states.boxed_local(),
        devices.boxed_local(),
        problems.boxed_local(),
    ]);
    // Signals first: a change of state comes after the signals that were sent before it.
    let signals = stream::select(signals, gone).boxed_local();
    Ok(stream::select_with_strategy(
        signals,
        properties,
        |(): &mut ()| stream::PollNext::Left,
    ))
}

impl Notice {
    fn from_signal(message: &Message) -> Option<Self> {
        Self::from_speech(message)
            .or_else(|| Self::from_growth(message))
            .or_else(|| Self::from_answer(message))
    }

    fn from_growth(message: &Message) -> Option<Self> {
        if let Some(signal) = PartialTranscript::from_message(message.clone()) {
            let args = signal.args().ok()?;
            return Some(Self::PartialTranscript {
                utterance: args.utterance,
                text: args.text,
            });
        }
        let signal = ReplyPiece::from_message(message.clone())?;
        let args = signal.args().ok()?;
        Some(Self::ReplyPiece {
            utterance: args.utterance,
            text: args.text,
        })
    }

    fn from_speech(message: &Message) -> Option<Self> {
        if let Some(signal) = SpeechStarted::from_message(message.clone()) {
            let utterance = signal.args().ok()?.utterance;
            return Some(Self::SpeechStarted { utterance });
        }
        if let Some(signal) = Keyword::from_message(message.clone()) {
            let args = signal.args().ok()?;
            return Some(Self::Keyword {
                word: args.word,
                meaning: args.meaning,
                score: args.score,
            });
        }
        let signal = SpeechEnded::from_message(message.clone())?;
        let args = signal.args().ok()?;
        Some(Self::SpeechEnded {
            utterance: args.utterance,
            milliseconds: args.milliseconds,
        })
    }

    fn from_answer(message: &Message) -> Option<Self> {
        if let Some(signal) = Transcript::from_message(message.clone()) {
            let args = signal.args().ok()?;
            return Some(Self::Transcript {
                utterance: args.utterance,
                text: args.text,
            });
        }
        if let Some(signal) = Reply::from_message(message.clone()) {
            let args = signal.args().ok()?;
            return Some(Self::Reply {
                utterance: args.utterance,
                text: args.text,
                stats: statistics(&args.stats),
            });
        }
        let signal = Failed::from_message(message.clone())?;
        let args = signal.args().ok()?;
        Some(Self::Failed {
            utterance: args.utterance,
            name: args.error,
            message: args.message,
        })
    }
}

/// Statistics that an older daemon does not send are 0.
fn statistics(dict: &Dict) -> Stats {
    from_dict(dict).unwrap_or_default()
}
