//! The parts of an answer: the JSON lines of `Manager.Stream`, and statistics.

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
        /// The piece; never empty; may end inside a word.
        text: String,
        /// Ids of its tokens in the loaded model's vocabulary.
        tokens: Vec<i32>,
    },
    /// The answer is complete.
    Done(Stats),
    /// The answer failed; the text before it stays valid.
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
    /// The answer reached `max_tokens` or the end of the context.
    Length,
}

/// Statistics of an answer. Counts are tokens of the loaded model; times are wall-clock milliseconds. On the
/// bus an `a{sv}` with these names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Number of the request, unique while the daemon runs.
    pub request: u64,
    /// Exchanges of the conversation that were forgotten for this question, because it had grown too long.
    pub forgotten: u32,
    /// Rows of the prompt in total: text tokens and soft tokens.
    pub prompt_tokens: u32,
    /// Rows of the prompt that were already in the KV cache.
    pub cached_tokens: u32,
    /// Soft tokens of sound among the prompt's rows; 25 per second of sound.
    pub audio_tokens: u32,
    /// Tokens generated, including the thought, without the end-of-turn token.
    pub output_tokens: u32,
    /// Of the tokens generated, those that the grammar forced. They are prefilled, many in one batch, instead of
    /// decoded one by one.
    pub forced_tokens: u32,
    /// Of the tokens generated, those of the thought, which the answer does not show.
    pub thought_tokens: u32,
    /// From the request's arrival to its first batch or its first audio encoding.
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
    /// Length of the sound, in ms. This and the next four only for requests with sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound_ms: Option<f64>,
    /// Time for encoding and prefill until the end of the sound, as a ratio to the sound's length. Below 1 the machine
    /// keeps up with the speaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub real_time_factor: Option<f64>,
    /// Length of the sound that was not yet in the KV cache when the request came, in ms: the machine's lag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog_ms: Option<f64>,
    /// The part of `encode_ms` after the request came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_encode_ms: Option<f64>,
    /// The part of `prefill_ms` after the request came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_prefill_ms: Option<f64>,
    /// From the last sample of speech to the first sampled token; only for spoken turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speech_to_token_ms: Option<f64>,
    /// Whether the sound file is truncated or damaged, and only its readable part was heard. Left out if false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut_short: bool,
    /// Whether a command that the answer gave was not carried out, or waits to be confirmed. Left out if false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub undone: bool,
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
