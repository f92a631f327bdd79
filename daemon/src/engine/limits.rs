//! Limits on the texts a client may hand over, checked before anything else and without the model.

use super::bounds::{LONGEST_SCHEMA, LONGEST_TEXT};
use super::{EngineError, Request, SchemaError, request};
use crate::config;

/// Bytes of text for each token that fits. A token of English has four or five bytes, and only runs of spaces
/// or newlines have as many as 31, so a longer text never fits.
const BYTES_PER_TOKEN: usize = 32;

/// The limits of texts, which depend on `[engine] context` and `longest_question`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    text: usize,
}

impl Limits {
    /// The limits of an engine with this configuration.
    #[must_use]
    pub fn new(config: &config::Engine) -> Self {
        let tokens = config.context.get().max(config.longest_question.get()) as usize;
        Self {
            text: tokens.saturating_mul(BYTES_PER_TOKEN).min(LONGEST_TEXT),
        }
    }

    /// Checks the length of a prompt, in bytes.
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`].
    pub fn check_prompt(self, bytes: usize) -> Result<(), EngineError> {
        self.check("prompt", bytes)
    }

    /// Checks the length of a system prompt, in bytes.
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`].
    pub fn check_system(self, bytes: usize) -> Result<(), EngineError> {
        self.check("system prompt", bytes)
    }

    /// Checks the length of a JSON Schema, in bytes.
    ///
    /// # Errors
    /// [`SchemaError::TooLong`].
    pub fn check_schema(bytes: usize) -> Result<(), EngineError> {
        if bytes > LONGEST_SCHEMA {
            return Err(SchemaError::TooLong { bytes }.into());
        }
        Ok(())
    }

    /// Checks the prompt and the system prompt of a request, and both together with its earlier messages and the
    /// results of its tool calls, since one cache has to hold them all.
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`].
    pub fn check_request(self, request: &Request) -> Result<(), EngineError> {
        let length = |text: Option<&str>| text.map_or(0, str::len);
        let prompt = length(request.question.text());
        let system = length(request.preamble.system.as_deref());
        self.check_prompt(prompt)?;
        self.check_system(system)?;
        let history = request.preamble.history.iter();
        let history = history.map(request::Message::bytes);
        let results = request.called.iter().flatten().map(|call| {
            let (Ok(said) | Err(said)) = &call.result;
            said.len()
        });
        let all = [prompt, system].into_iter().chain(history).chain(results);
        let all = all.fold(0, usize::saturating_add);
        self.check("request", all)
    }

    fn check(self, what: &'static str, bytes: usize) -> Result<(), EngineError> {
        if bytes > self.text {
            let most = self.text;
            return Err(EngineError::TextTooLong { what, bytes, most });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bounded;
    use crate::engine::ToolCall;

    fn limits(context: u32) -> Limits {
        Limits::new(&config::Engine {
            context: Bounded::new(context).unwrap(),
            longest_question: Bounded::new(256).unwrap(),
            ..config::Engine::default()
        })
    }

    #[test]
    fn a_text_that_no_cache_of_that_size_can_hold_is_refused_by_its_length() {
        assert_eq!(limits(256).check_prompt(256 * 32), Ok(()));
        let refused = limits(256).check_prompt(256 * 32 + 1).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the prompt has 8193 bytes, but at most 8192 are read; shorten it, or raise [engine] context"
        );
        assert!(limits(256).check_system(20 << 20).is_err());
        assert!(limits(1_048_576).check_prompt(1 << 20).is_ok());
        assert!(limits(1_048_576).check_prompt((1 << 20) + 1).is_err());
    }

    #[test]
    fn the_texts_of_a_request_are_measured_together_with_what_tools_said() {
        let config = config::Answer {
            system: "s".repeat(4000),
            ..config::Answer::default()
        };
        let mut request = Request::question(&config, "p".repeat(4000));
        assert_eq!(limits(256).check_request(&request), Ok(()));
        request.called = vec![vec![ToolCall {
            name: "read".into(),
            arguments: [].into(),
            result: Ok("r".repeat(200)),
        }]];
        let refused = limits(256).check_request(&request);
        let (bytes, most) = (8200, 8192);
        let what = "request";
        assert_eq!(refused, Err(EngineError::TextTooLong { what, bytes, most }));
    }
}
