//! Compiles forms to grammars. A few are kept, because a program asks with the same form again and again, and every
//! utterance is answered in that of the commands.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, TokEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use super::form::{Form, Grammar, first_line};
use super::schema;
use super::vocabulary::{self, Vocabulary};
use crate::engine::EngineError;
use crate::engine::llama::model::Model;

/// Maximum length of a grammar in Lark, in bytes.
const LONGEST_LARK: usize = 1 << 18;

/// Number of grammars of each kind that are kept; the least recently used is dropped first. Schemas are the clients',
/// other grammars the operator's, so clients cannot displace those.
const KEPT: usize = 8;

/// Maximum states of a grammar's lexer, each of about one kilobyte (llguidance, `ParserLimits`). Over Gemma's 262,144
/// pieces, whose longest have 30 characters, a text of at most 4,000 characters needs this many.
const STATES: usize = 1 << 15;

/// A character of ordinary text: one that JSON's strings and the texts of commands (`commands::plain`) may hold as it is.
const ORDINARY: &str = r#"[^\u{0}-\u{1f}"<\\\u{7f}-\u{9f}\u{ad}\u{115f}-\u{1160}\u{2000}-\u{206f}\u{3164}\u{e000}-\u{f8ff}\u{fe00}-\u{feff}\u{ff00}-\u{ffff}\u{e0000}-\u{10ffff}]"#;

/// Stack of the thread that compiles, in bytes. The compiler follows references by calling itself; the longest
/// chain in a schema of 64 KiB has almost 3,000 links.
const STACK: usize = 256 << 20;

/// Compiles forms for one vocabulary.
pub(in crate::engine) struct Grammars {
    factory: ParserFactory,
    kept_lark: Mutex<VecDeque<(Form, Grammar)>>,
    kept_json: Mutex<VecDeque<(Form, Grammar)>>,
}

/// llguidance's reason for not compiling a form.
struct Refused(String);

impl Grammars {
    /// A compiler for the vocabulary of `model`, which is sorted first.
    ///
    /// # Errors
    /// When the model has no token that ends a turn.
    pub(in crate::engine) fn new(model: &Arc<Model>) -> Result<Self, EngineError> {
        let vocabulary: TokEnv = Arc::new(Vocabulary::new(model)?);
        Self::over(&vocabulary)
    }

    /// A compiler for `vocabulary`.
    ///
    /// # Errors
    /// When its tokens cannot be told apart.
    pub(super) fn over(vocabulary: &TokEnv) -> Result<Self, EngineError> {
        // Tokens of ordinary text are allowed or not all at once where a grammar allows any text. Else each mask would
        // look at every token of the vocabulary by itself.
        let slices = ["{1,10}", "{1,30}", "+"].map(|times| format!("{ORDINARY}{times}"));
        let mut factory = ParserFactory::new(vocabulary, InferenceCapabilities::default(), &slices)
            .map_err(|why| EngineError::Grammar(first_line(&why)))?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.verbose_errors = false;
        limits.max_lexer_states = STATES;
        Ok(Self {
            factory,
            kept_lark: Mutex::default(),
            kept_json: Mutex::default(),
        })
    }

    /// Compiles `form`, unless that was done already.
    ///
    /// # Errors
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when the form is invalid, no answer fits it, or it is too
    /// complex.
    pub(in crate::engine) fn compile(&self, form: &Form) -> Result<Grammar, EngineError> {
        if let Some(kept) = self.take_kept(form) {
            return Ok(kept);
        }
        let grammar = match form {
            Form::Lark(text) => self.compile_lark(text)?,
            Form::Json(root) => {
                schema::check(root)?;
                let grammar = TopLevelGrammar::from_json_schema(with_options(root));
                let explain = |Refused(why)| EngineError::Schema(schema::explain(root, &why));
                self.compile_aside(grammar, true).map_err(explain)?
            }
        };
        let mut kept = self.kept(form);
        kept.push_back((form.clone(), grammar.clone()));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        Ok(grammar)
    }

    fn compile_lark(&self, text: &str) -> Result<Grammar, EngineError> {
        if text.len() > LONGEST_LARK {
            return Err(EngineError::Grammar(format!(
                "it has {} bytes, but at most {LONGEST_LARK} are accepted",
                text.len()
            )));
        }
        let grammar = TopLevelGrammar::from_lark(text.to_owned());
        self.compile_aside(grammar, false).map_err(|Refused(why)| {
            log::debug!("a grammar was not compiled: {why}");
            EngineError::Grammar("it is too large or too complex".into())
        })
    }

    /// Compiles on a thread with a stack for the deepest form. The compiler gives up on some forms with a panic,
    /// which ends only that thread.
    fn compile_aside(&self, grammar: TopLevelGrammar, of_schema: bool) -> Result<Grammar, Refused> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("grammar".into())
                .stack_size(STACK)
                .spawn_scoped(scope, || self.compile_here(grammar, of_schema));
            let refused = |why: &dyn fmt::Display| Refused(first_line(why));
            match thread.map_err(|why| refused(&why))?.join() {
                Ok(compiled) => compiled,
                Err(_) => Err(refused(&"it is too complex")),
            }
        })
    }

    fn compile_here(&self, grammar: TopLevelGrammar, of_schema: bool) -> Result<Grammar, Refused> {
        let mut matcher = Matcher::new(self.factory.create_parser(grammar));
        let refused = |why: &dyn fmt::Display| Err(Refused(first_line(why)));
        if let Some(why) = matcher.get_error() {
            return refused(&why);
        }
        // A grammar that no answer fits fails only at the first token.
        let mut first = matcher.clone();
        let forced = first.compute_ff_tokens();
        if let Err(why) = first.consume_tokens(&forced) {
            return refused(&why);
        }
        if !first.is_stopped()
            && let Err(why) = first.compute_mask()
        {
            return refused(&why);
        }
        if let Some(warning) = matcher.grammar_warnings().first() {
            return refused(warning);
        }
        Ok(Grammar {
            matcher: Arc::new(matcher),
            of_schema,
        })
    }

    /// The grammar of `form` if it is kept, which makes it the most recently used.
    fn take_kept(&self, form: &Form) -> Option<Grammar> {
        let mut kept = self.kept(form);
        let index = kept.iter().position(|(other, _)| other == form)?;
        let found = kept.remove(index)?;
        let grammar = found.1.clone();
        kept.push_back(found);
        Some(grammar)
    }

    /// The kept grammars of this form's kind.
    fn kept(&self, form: &Form) -> MutexGuard<'_, VecDeque<(Form, Grammar)>> {
        let kept = match form {
            Form::Lark(_) => &self.kept_lark,
            Form::Json(_) => &self.kept_json,
        };
        kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Form {
    /// Compiles the form without a model: for a vocabulary of single bytes and `protocol`, whose last token ends a
    /// turn. The limits of the compiler are the same as with a model.
    ///
    /// # Errors
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when the form is invalid, no answer fits it, or it is too
    /// complex.
    pub fn check(&self, protocol: &[&str]) -> Result<(), EngineError> {
        let vocabulary = vocabulary::of_bytes(protocol);
        Grammars::over(&vocabulary)?.compile(self).map(drop)
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Grammars")
    }
}

/// The schema with our compiler options instead of its own, which could let through values that do not validate.
/// Separators are fixed to those of most one-line JSON, so that none has to be drawn.
fn with_options(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(keywords) = &mut schema {
        let options = json!({
            "whitespace_flexible": false,
            "item_separator": ", ",
            "key_separator": ": ",
        });
        keywords.insert("x-guidance".into(), options);
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config;
    use crate::engine::ggml::threads::Threads;

    fn grammars() -> Grammars {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/nano");
        let config = config::Model {
            text: folder.join("nano-f16.gguf"),
            mmproj: PathBuf::new(),
            ..config::Model::default()
        };
        let model = Model::open(&config, &Threads::of(1)).unwrap();
        Grammars::new(&Arc::new(model)).unwrap()
    }

    #[test]
    fn the_last_few_forms_are_compiled_once() {
        let grammars = grammars();
        let form = |nth| Form::Json(Arc::new(json!({"const": nth})));
        let first = grammars.compile(&form(0)).unwrap();
        for nth in 1..KEPT {
            grammars.compile(&form(nth)).unwrap();
        }
        let again = grammars.compile(&form(0)).unwrap();
        assert!(Arc::ptr_eq(&first.matcher, &again.matcher));
        // It was used last, so another one is dropped.
        grammars.compile(&form(KEPT)).unwrap();
        assert!(grammars.take_kept(&form(0)).is_some());
        assert!(grammars.take_kept(&form(1)).is_none());
    }

    #[test]
    fn every_format_that_a_schema_may_name_is_known_to_the_compiler() {
        let grammars = grammars();
        for format in schema::FORMATS {
            let form = Form::Json(Arc::new(json!({"type": "string", "format": format})));
            assert!(grammars.compile(&form).is_ok(), "{format}");
        }
    }
}
