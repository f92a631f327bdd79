//! What an answer is made of: the JSON lines of `Manager.Stream` and the statistics of every answer.

use serde::{Deserialize, Serialize};

/// One line on the descriptor of `Manager.Stream`, as JSON:
///
/// ```json
/// {"type":"text","text":"It is ","tokens":[818,563]}
/// {"type":"done","request":3,"prompt_tokens":14,…,"finish":"stop"}
/// {"type":"error","name":"org.gemmad1.Error.Failed","message":"…"}
/// ```
///
/// `text` lines come as the answer is generated; the last line is `done` or `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A piece of the answer: whole characters, never thought text or control tokens.
    Text {
        /// The piece; may be empty never, may end inside a word.
        text: String,
        /// The token ids it was made from, in the loaded model's vocabulary.
        tokens: Vec<i32>,
    },
    /// The answer is complete.
    Done(Stats),
    /// The answer failed; what came before stands.
    Error {
        /// Full D-Bus error name.
        name: String,
        /// What happened, why, and what to do next.
        message: String,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended its turn.
    #[default]
    Stop,
    /// `max_tokens` or the context was reached.
    Length,
}

/// How an answer came about. Token counts are tokens of the loaded model; times are milliseconds of
/// wall clock. On the bus an `a{sv}` with these names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Number of the request, unique while the daemon runs.
    pub request: u64,
    /// All rows of the prompt: text tokens and soft tokens.
    pub prompt_tokens: u32,
    /// Rows of the prompt that were already in the KV cache.
    pub cached_tokens: u32,
    /// Soft tokens of sound among the prompt's rows, 25 a second.
    pub audio_tokens: u32,
    /// Tokens generated, thought included, the end-of-turn token not.
    pub output_tokens: u32,
    /// Of the tokens generated, those after which a grammar left no choice. They are read like a prompt,
    /// many at once, instead of being decoded one after the other.
    pub forced_tokens: u32,
    /// Tokens generated as thought, which no answer shows.
    pub thought_tokens: u32,
    /// From the request's arrival to its first batch or encoding.
    pub queue_ms: f64,
    /// Time the audio encoder worked for this request.
    pub encode_ms: f64,
    /// Time in batches that held prompt rows of this request.
    pub prefill_ms: f64,
    /// From the request's arrival to its first sampled token.
    pub first_token_ms: f64,
    /// From the first sampled token to the last.
    pub decode_ms: f64,
    /// From the request's arrival to its end.
    pub total_ms: f64,
    /// Length of the sound; this and the next four only for requests with sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound_ms: Option<f64>,
    /// Encoding and prefill until the end of the sound, as a share of its length. Below 1 the machine
    /// keeps up with the speaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real_time_factor: Option<f64>,
    /// Sound that was not in the KV cache yet when the request came: how far behind the machine was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog_ms: Option<f64>,
    /// Of `encode_ms`, what was left to do when the request came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_encode_ms: Option<f64>,
    /// Of `prefill_ms`, what was left to do when the request came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_prefill_ms: Option<f64>,
    /// From the last sample of speech to the first sampled token; only for spoken turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speech_to_token_ms: Option<f64>,
    /// Whether the sound file ends before its sound does, or is damaged: what could be read of it was heard. Left
    /// out if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut_short: bool,
    /// Why it ended.
    pub finish: Finish,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_json_object() {
        let done = serde_json::to_string(&Event::Done(Stats::default())).unwrap();
        assert!(done.starts_with(r#"{"type":"done","request":0,"#), "{done}");
        assert!(!done.contains('\n'));
        let text = Event::Text {
            text: "a\nb".into(),
            tokens: vec![1, 2],
        };
        assert_eq!(
            serde_json::to_string(&text).unwrap(),
            r#"{"type":"text","text":"a\nb","tokens":[1,2]}"#
        );
    }
}
