//! Compiles forms to grammars. A few are kept, because a program asks with the same form again and again, and every
//! utterance is answered in that of the commands.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, TokEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use super::form::{Form, Grammar, first_line};
use super::schema;
use super::vocabulary::{self, Vocabulary};
use crate::engine::EngineError;
use crate::engine::llama::gguf::{Header, Kind};
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
    /// Made for the first form: over Gemma's vocabulary that takes time and memory.
    factory: LazyLock<Result<ParserFactory, EngineError>, Making>,
    lark: Kept,
    json: Kept,
}

/// Makes the compiler of a vocabulary.
type Making = Box<dyn FnOnce() -> Result<ParserFactory, EngineError> + Send>;

/// A model's vocabulary, sorted, and its compiler.
pub(in crate::engine) struct Sorted {
    vocabulary: Arc<Vocabulary>,
    factory: ParserFactory,
}

/// A vocabulary that is being sorted while its model is loaded.
pub(in crate::engine) type Foreseen = JoinHandle<Result<Sorted, EngineError>>;

/// The last few forms, the most recently used last, with their grammars. One that is being compiled is there already:
/// who asks for it meanwhile waits.
#[derive(Default)]
struct Kept(Mutex<VecDeque<(Form, Compiled)>>);

/// What became of a form.
type Compiled = Arc<OnceLock<Result<Grammar, EngineError>>>;

/// llguidance's reason for not compiling a form.
struct Refused(String);

impl Sorted {
    /// Sorts the vocabulary of the model in the file at `path`, which is not loaded yet.
    ///
    /// # Errors
    /// When its header cannot be read, or its tokens cannot be told apart.
    pub(super) fn foreseen(path: &Path) -> Result<Self, EngineError> {
        let header = Header::open(path, Kind::Text);
        let header = header.map_err(|why| EngineError::ModelNotLoaded(why.to_string()))?;
        Self::of(Vocabulary::foreseen(&header))
    }

    fn of(vocabulary: Vocabulary) -> Result<Self, EngineError> {
        let vocabulary = Arc::new(vocabulary);
        let shared: TokEnv = Arc::<Vocabulary>::clone(&vocabulary);
        Ok(Self {
            factory: factory(&shared)?,
            vocabulary,
        })
    }

    /// The compiler for the vocabulary of `model`, which this is.
    fn complete(self, model: &Arc<Model>) -> Result<ParserFactory, EngineError> {
        self.vocabulary.complete(model)?;
        Ok(self.factory)
    }
}

impl Grammars {
    /// A compiler for the vocabulary of `model`, which is sorted when the first form is compiled, unless it was `foreseen`.
    pub(in crate::engine) fn new(model: &Arc<Model>, foreseen: Option<Foreseen>) -> Self {
        let model = Arc::clone(model);
        Self::made(move || {
            // What went wrong there is found again here.
            let foreseen = foreseen.and_then(|thread| thread.join().ok()?.ok());
            match foreseen.filter(|sorted| sorted.vocabulary.is_of(&model)) {
                Some(sorted) => sorted.complete(&model),
                None => Sorted::of(Vocabulary::of_model(&model))?.complete(&model),
            }
        })
    }

    /// A compiler for `vocabulary`.
    pub(super) fn over(vocabulary: TokEnv) -> Self {
        Self::made(move || factory(&vocabulary))
    }

    fn made(making: impl FnOnce() -> Result<ParserFactory, EngineError> + Send + 'static) -> Self {
        Self {
            factory: LazyLock::new(Box::new(making)),
            lark: Kept::default(),
            json: Kept::default(),
        }
    }

    /// Compiles `form`, unless that was done already or is being done.
    ///
    /// # Errors
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when the form is invalid, no answer fits it, it is too
    /// complex, or the tokens of the vocabulary cannot be told apart.
    pub(in crate::engine) fn compile(&self, form: &Form) -> Result<Grammar, EngineError> {
        let kept = self.kept(form);
        let compiled = kept.take(form);
        let grammar = compiled.get_or_init(|| self.compile_anew(form));
        kept.settle(&compiled, grammar.is_ok());
        grammar.clone()
    }

    fn compile_anew(&self, form: &Form) -> Result<Grammar, EngineError> {
        match form {
            Form::Lark(text) => self.compile_lark(text),
            Form::Json(root) => {
                schema::check(root)?;
                let factory = self.factory.as_ref().map_err(Clone::clone)?;
                let grammar = TopLevelGrammar::from_json_schema(with_options(root));
                let explain = |Refused(why)| EngineError::Schema(schema::explain(root, &why));
                compile_aside(factory, grammar, true).map_err(explain)
            }
        }
    }

    fn compile_lark(&self, text: &str) -> Result<Grammar, EngineError> {
        if text.len() > LONGEST_LARK {
            return Err(EngineError::Grammar(format!(
                "it has {} bytes, but at most {LONGEST_LARK} are accepted",
                text.len()
            )));
        }
        let factory = self.factory.as_ref().map_err(Clone::clone)?;
        let grammar = TopLevelGrammar::from_lark(text.to_owned());
        compile_aside(factory, grammar, false).map_err(|Refused(why)| {
            log::debug!("a grammar was not compiled: {why}");
            EngineError::Grammar("it is too large or too complex".into())
        })
    }

    /// The kept grammars of this form's kind.
    fn kept(&self, form: &Form) -> &Kept {
        match form {
            Form::Lark(_) => &self.lark,
            Form::Json(_) => &self.json,
        }
    }
}

impl Kept {
    /// What becomes of `form`, now the most recently used.
    fn take(&self, form: &Form) -> Compiled {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(other, _)| other == form);
        let found = found.and_then(|index| kept.remove(index));
        let (form, compiled) = found.unwrap_or_else(|| (form.clone(), Compiled::default()));
        kept.push_back((form, Arc::clone(&compiled)));
        compiled
    }

    /// Keeps what was compiled in place of the least recently used; forgets what was refused.
    fn settle(&self, compiled: &Compiled, is_good: bool) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, other)| is_good || !Arc::ptr_eq(other, compiled));
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

/// The compiler for a sorted vocabulary.
///
/// # Errors
/// When its tokens cannot be told apart.
fn factory(vocabulary: &TokEnv) -> Result<ParserFactory, EngineError> {
    // Tokens of ordinary text are allowed or not all at once where a grammar allows any text. Else each mask would
    // look at every token of the vocabulary by itself.
    let slices = ["{1,10}", "{1,30}", "+"].map(|times| format!("{ORDINARY}{times}"));
    let mut factory = ParserFactory::new(vocabulary, InferenceCapabilities::default(), &slices)
        .map_err(|why| EngineError::Grammar(first_line(&why)))?;
    factory.quiet();
    let limits = factory.limits_mut();
    limits.verbose_errors = false;
    limits.max_lexer_states = STATES;
    Ok(factory)
}

/// Compiles on a thread with a stack for the deepest form. The compiler gives up on some forms with a panic,
/// which ends only that thread.
fn compile_aside(
    factory: &ParserFactory,
    grammar: TopLevelGrammar,
    of_schema: bool,
) -> Result<Grammar, Refused> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("grammar".into())
            .stack_size(STACK)
            .spawn_scoped(scope, || compile_here(factory, grammar, of_schema));
        let refused = |why: &dyn fmt::Display| Refused(first_line(why));
        match thread.map_err(|why| refused(&why))?.join() {
            Ok(compiled) => compiled,
            Err(_) => Err(refused(&"it is too complex")),
        }
    })
}

fn compile_here(
    factory: &ParserFactory,
    grammar: TopLevelGrammar,
    of_schema: bool,
) -> Result<Grammar, Refused> {
    let mut matcher = Matcher::new(factory.create_parser(grammar));
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

impl Form {
    /// Compiles the form without a model: for a vocabulary of single bytes and `protocol`, whose last token ends a
    /// turn. The limits of the compiler are the same as with a model.
    ///
    /// # Errors
    /// [`EngineError::Schema`] or [`EngineError::Grammar`] when the form is invalid, no answer fits it, or it is too
    /// complex.
    pub fn check(&self, protocol: &[&str]) -> Result<(), EngineError> {
        let vocabulary = vocabulary::of_bytes(protocol);
        Grammars::over(vocabulary).compile(self).map(drop)
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
    use std::path::PathBuf;
    use std::sync::Barrier;

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
        Grammars::new(&Arc::new(model), None)
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
        assert!(grammars.json.take(&form(0)).get().is_some());
        assert!(grammars.json.take(&form(1)).get().is_none());
    }

    #[test]
    fn a_form_that_many_ask_for_at_once_is_compiled_once() {
        let grammars = grammars();
        let form = Form::Json(Arc::new(json!({"type": "string"})));
        let together = Barrier::new(8);
        let compiled: Vec<_> = std::thread::scope(|scope| {
            let ask = || {
                together.wait();
                grammars.compile(&form).unwrap().matcher
            };
            let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(compiled.iter().all(|it| Arc::ptr_eq(it, &compiled[0])));
    }

    #[test]
    fn a_form_that_is_refused_takes_no_place_of_others() {
        let grammars = grammars();
        let form = |nth| Form::Json(Arc::new(json!({"const": nth})));
        for nth in 0..KEPT {
            grammars.compile(&form(nth)).unwrap();
        }
        let impossible = Form::Json(Arc::new(json!({"const": 1, "type": "string"})));
        assert!(grammars.compile(&impossible).is_err());
        assert!(grammars.compile(&impossible).is_err());
        assert_eq!(grammars.json.0.lock().unwrap().len(), KEPT);
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
