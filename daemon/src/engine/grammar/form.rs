//! Forms that answers must have, and the position of an answer in its form.

use std::fmt;
use std::sync::Arc;

use llguidance::Matcher;
use llguidance::toktrie::{SimpleVob, TokenId};
use serde_json::Value;

use super::schema::{self, SchemaError};
use crate::engine::error::EngineError;
use crate::engine::llama::model::Token;

/// Most tokens among which one is looked for that is left alone. Where more are allowed there is a choice.
const MOST_LEFT: usize = 32;

/// The form that an answer must have. Each engine compiles it for its own vocabulary. Clones share it.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// A text of this grammar, in llguidance's dialect of Lark. `<name>` is the token of that name.
    Lark(Arc<str>),
    /// A JSON value that this JSON Schema describes, on one line.
    Json(Arc<Value>),
}

impl Form {
    /// The JSON Schema that a client wrote.
    ///
    /// # Errors
    /// [`EngineError::Schema`] when it is longer than [`LONGEST_SCHEMA`](crate::engine::LONGEST_SCHEMA) or no JSON.
    pub fn schema(text: &str) -> Result<Self, EngineError> {
        Ok(Self::Json(Arc::new(schema::read(text)?)))
    }
}

/// A form, compiled for the vocabulary of the loaded model. Clones share it.
#[derive(Clone)]
pub(in crate::engine) struct Grammar {
    pub(super) matcher: Arc<Matcher>,
    pub(super) of_schema: bool,
}

impl Grammar {
    /// A guide at the beginning of an answer.
    pub(in crate::engine) fn guide(&self) -> Guide {
        Guide {
            matcher: (*self.matcher).clone(),
            of_schema: self.of_schema,
            allowed: None,
            next: None,
        }
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Grammar")
    }
}

/// The position of an answer in its grammar.
pub(in crate::engine) struct Guide {
    matcher: Matcher,
    /// Whether the grammar was made of a client's schema.
    of_schema: bool,
    /// The tokens of which one was drawn last.
    allowed: Option<Allowed>,
    /// Those of which one must come next, if they are known already.
    next: Option<SimpleVob>,
}

impl Guide {
    /// The tokens that must come next. The guide moves past them.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub(in crate::engine) fn forced(&mut self) -> Result<Vec<Token>, EngineError> {
        if self.is_over() {
            return Ok(Vec::new());
        }
        let forced = self.matcher.compute_ff_tokens();
        let consumed = self.matcher.consume_tokens(&forced);
        consumed.map_err(|why| self.lost(&why))?;
        Ok(forced.into_iter().map(u32::cast_signed).collect())
    }

    /// The tokens of which one must come next, when none is forced.
    ///
    /// # Errors
    /// When the grammar has become too complex.
    pub(in crate::engine) fn allowed(&mut self) -> Result<&Allowed, EngineError> {
        let mask = self.mask()?;
        Ok(self.allowed.insert(Allowed(mask)))
    }

    fn mask(&mut self) -> Result<SimpleVob, EngineError> {
        if let Some(mask) = self.next.take() {
            return Ok(mask);
        }
        let mask = self.matcher.compute_mask();
        mask.map_err(|why| self.lost(&why))
    }

    /// Moves past `token`, one of those that were allowed last, and the tokens that must come after it; returns the latter.
    /// None of the tokens in `barred`, sorted, could be drawn or can be.
    ///
    /// # Errors
    /// When `token` was not allowed, or the grammar has become too complex.
    pub(in crate::engine) fn follow(
        &mut self,
        token: Token,
        barred: &[Token],
    ) -> Result<Vec<Token>, EngineError> {
        let consume = |guide: &mut Self, token| {
            let consumed = guide.matcher.consume_token(token);
            consumed.map_err(|why| guide.lost(&why))
        };
        self.next = None;
        consume(self, token.cast_unsigned())?;
        let mut forced = self.forced()?;
        let Some(allowed) = self
            .allowed
            .take()
            .filter(|_| forced.is_empty() && !self.is_over())
        else {
            return Ok(forced);
        };
        let next = self.mask()?;
        if let Some(left) = self.only_one_left(token.cast_unsigned(), &allowed, &next, barred)? {
            consume(self, left)?;
            forced.push(left.cast_signed());
            forced.extend(self.forced()?);
        } else {
            self.next = Some(next);
        }
        Ok(forced)
    }

    /// The one of the tokens `next` that has to come after `last`, because the model has decided against all others: it could
    /// have drawn each of them in one with `last`, as its tokeniser has them, by a token that was `allowed`. Behind `{`,
    /// where `{}` was allowed, no `}` comes.
    fn only_one_left(
        &self,
        last: TokenId,
        allowed: &Allowed,
        next: &SimpleVob,
        barred: &[Token],
    ) -> Result<Option<TokenId>, EngineError> {
        if next.num_set() > MOST_LEFT {
            return Ok(None);
        }
        let vocabulary = self.matcher.tok_env().map_err(|why| self.lost(&why))?;
        let trie = vocabulary.tok_trie();
        let behind_last = |next| [trie.token(last), trie.token(next)].concat();
        let may_be = |token: TokenId| barred.binary_search(&token.cast_signed()).is_err();
        let was_refused = |next: &TokenId| {
            let both = trie.token_id_at_bytes(&behind_last(*next));
            both.is_some_and(|both| allowed.holds(both.cast_signed()) && may_be(both))
        };
        let next = next.iter().filter(|token| may_be(*token));
        let (refused, left): (Vec<_>, Vec<_>) = next.partition(was_refused);
        let longest = left.iter().copied().max_by_key(|it| trie.token(*it).len());
        let Some(longest) = longest.filter(|_| !refused.is_empty()) else {
            return Ok(None);
        };
        let text = trie.token(longest);
        // The others are pieces of its text.
        let is_only = left.iter().all(|it| text.starts_with(trie.token(*it)));
        let is_usual = || vocabulary.tokenize_bytes(&behind_last(longest)) == [last, longest];
        Ok((is_only && is_usual()).then_some(longest))
    }

    /// Whether no token can follow.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Whether the answer may end here.
    pub(in crate::engine) fn may_end(&mut self) -> bool {
        self.is_over() || self.matcher.is_accepting().unwrap_or(false)
    }

    /// The error for a grammar that cannot be followed further.
    fn lost(&self, why: &dyn fmt::Display) -> EngineError {
        log::debug!("a grammar was given up: {}", first_line(why));
        if self.of_schema {
            SchemaError::TooComplex.into()
        } else {
            EngineError::Grammar("it has become too complex".into())
        }
    }
}

/// The reason in a message of llguidance's: the first line. The parser's state follows it.
pub(super) fn first_line(why: &dyn fmt::Display) -> String {
    let why = why.to_string();
    why.lines().next().unwrap_or_default().to_owned()
}

impl fmt::Debug for Guide {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Guide")
    }
}

/// A non-empty set of tokens.
pub(in crate::engine) struct Allowed(SimpleVob);

impl Allowed {
    pub(in crate::engine) fn holds(&self, token: Token) -> bool {
        self.0.is_allowed(token.cast_unsigned())
    }

    /// Whether all of them are among `others`, none of which is there twice.
    pub(in crate::engine) fn is_within(&self, others: &[Token]) -> bool {
        let common = others.iter().filter(|it| self.holds(**it)).count();
        common > 0 && common == self.0.num_set()
    }
}

#[cfg(test)]
mod tests {
    use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

    use super::super::compiler::Grammars;
    use super::*;

    /// A vocabulary whose tokeniser takes the longest token that fits.
    struct Greedy(TokTrie);

    impl TokenizerEnv for Greedy {
        fn tok_trie(&self) -> &TokTrie {
            &self.0
        }

        fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
            self.0.greedy_tokenize(text)
        }
    }

    /// A guide through an optional word in braces, and the tokens of a vocabulary of ASCII and these `pieces`.
    fn guide(pieces: &[&str]) -> (Guide, impl Fn(&str) -> Token) {
        let ascii = (0..128_u8).map(|byte| vec![byte]);
        let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec());
        let end = [TokTrie::SPECIAL_TOKEN_MARKER].iter().chain(b"<end>");
        let words: Vec<_> = ascii
            .chain(pieces)
            .chain([end.copied().collect()])
            .collect();
        let size = u32::try_from(words.len()).unwrap();
        let trie = TokTrie::from(&TokRxInfo::new(size, size - 1), &words);
        let vocabulary: TokEnv = Arc::new(Greedy(trie.clone()));
        let form = Form::Lark(r#"start: "call{" ("day:" ("today" | "tomorrow"))? "}""#.into());
        let grammar = Grammars::over(vocabulary).compile(&form).unwrap();
        let token = move |text: &str| {
            trie.token_id_at_bytes(text.as_bytes())
                .unwrap()
                .cast_signed()
        };
        (grammar.guide(), token)
    }

    #[test]
    fn what_would_have_been_drawn_in_one_with_the_last_token_does_not_come_after_it() {
        let (mut guide, token) = guide(&["call", "{}", "day", "day:", "to", "today"]);
        assert_eq!(guide.forced(), Ok(vec![token("call")]));
        let allowed = guide.allowed().unwrap();
        assert!(allowed.holds(token("{")) && allowed.holds(token("{}")));
        // Not `}`, so the word comes; both words begin alike.
        assert_eq!(guide.follow(token("{"), &[]), Ok(vec![token("day:")]));
        let allowed = guide.allowed().unwrap();
        assert!(allowed.holds(token("today")) && allowed.holds(token("to")));
    }

    #[test]
    fn a_model_that_draws_the_short_form_gets_it() {
        let (mut guide, token) = guide(&["call", "{}", "day", "day:"]);
        guide.forced().unwrap();
        guide.allowed().unwrap();
        assert_eq!(guide.follow(token("{}"), &[]), Ok(vec![]));
        assert!(guide.is_over());
    }

    #[test]
    fn where_the_vocabulary_has_no_token_for_both_there_is_a_choice() {
        let (mut guide, token) = guide(&["call", "call{", "day", "day:"]);
        assert_eq!(guide.forced(), Ok(vec![token("call{")]));
        let allowed = guide.allowed().unwrap();
        assert!(allowed.holds(token("}")) && allowed.holds(token("day:")));
        assert_eq!(guide.follow(token("}"), &[]), Ok(vec![]));
        assert!(guide.is_over());
    }

    #[test]
    fn a_token_for_both_that_could_not_be_drawn_decides_nothing() {
        let (mut guide, token) = guide(&["call", "{}", "day", "day:"]);
        guide.forced().unwrap();
        guide.allowed().unwrap();
        let barred = [token("{}")];
        assert_eq!(guide.follow(token("{"), &barred), Ok(vec![]));
        assert!(guide.allowed().unwrap().holds(token("}")));
    }
}
