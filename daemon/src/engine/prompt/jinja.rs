//! Jinja as transformers sets it up: `trim_blocks`, `lstrip_blocks`, loop controls, the tag `generation`, the filter
//! `tojson`, the functions `raise_exception` and `strftime_now`, and Python's methods and floats.

use std::io::{self, Write};

use gemmad_text as text;
use jiff::civil::DateTime;
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter};
use minijinja_contrib::globals::{cycler, joiner};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::mark::too_long;
use super::{float, generation, json, needs};
use crate::engine::EngineError;
use crate::engine::bounds::LONGEST_PROMPT;

/// Maximum steps of a template. Gemma 4's takes about a thousand for a question, and as many for each tool.
const FUEL: u64 = 10_000_000;

/// Maximum length of a template's error message, in characters.
const LONGEST_COMPLAINT: usize = 300;

/// The name of the template, as minijinja's messages give it.
const NAME: &str = "chat";

/// Tells the local time.
pub(super) type Clock = fn() -> DateTime;

/// The local time.
pub(super) fn now() -> DateTime {
    jiff::Zoned::now().datetime()
}

/// A compiled template.
#[derive(Debug)]
pub(super) struct Jinja(Environment<'static>);

impl Jinja {
    /// Compiles `source`, whose `strftime_now` asks `clock`.
    ///
    /// # Errors
    /// When it is not valid Jinja, or needs a tag, a filter or a test that is not there.
    pub(super) fn new(source: &str, clock: Clock) -> Result<Self, EngineError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| failed(&error))?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.set_formatter(write);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("cycler", cycler);
        environment.add_function("joiner", joiner);
        environment.add_function("raise_exception", |message: String| {
            Err::<(), _>(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", move |format: String| {
            formatted(clock(), &format)
        });
        let source = generation::replaced(source);
        if let Some(missing) = needs::missing(&environment, &source) {
            return Err(lacking(&missing));
        }
        environment
            .add_template_owned(NAME, source)
            .map_err(|error| failed(&error))?;
        Ok(Self(environment))
    }

    /// The template's text for `context`.
    ///
    /// # Errors
    /// When the template refuses, or writes more than [`LONGEST_PROMPT`] bytes.
    pub(super) fn render(&self, context: Value) -> Result<String, EngineError> {
        let mut rendered = Bounded(Vec::new());
        let written = self.0.get_template(NAME).and_then(|template| {
            template
                .render_captured_to(context, &mut rendered)
                .map(drop)
        });
        if rendered.0.len() == LONGEST_PROMPT {
            return Err(too_long());
        }
        written.map_err(|error| failed(&error))?;
        Ok(String::from_utf8_lossy(&rendered.0).into_owned())
    }
}

/// Writes a value, floats as Python does.
fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.kind() == ValueKind::Number && !value.is_integer() {
        let number = f64::try_from(value.clone())?;
        return out.write_str(&float::written(number)).map_err(Error::from);
    }
    escape_formatter(out, state, value)
}

/// `time` in a format of C's `strftime`; what that does not know stands as it is.
fn formatted(time: DateTime, format: &str) -> Result<String, Error> {
    let config = Config::new().custom(PosixCustom::new()).lenient(true);
    BrokenDownTime::from(time)
        .to_string_with_config(&config, format)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// Output that takes no more than [`LONGEST_PROMPT`] bytes.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(LONGEST_PROMPT - self.0.len());
        self.0.extend_from_slice(&bytes[..taken]);
        // Taking nothing is an error to the writer, which ends the rendering.
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(error: &Error) -> EngineError {
    let tag = error
        .detail()
        .and_then(|it| it.strip_prefix("unknown statement "));
    if let (ErrorKind::SyntaxError, Some(tag)) = (error.kind(), tag) {
        let line = error.line().unwrap_or(1);
        return lacking(&format!("the tag `{tag}` (line {line})"));
    }
    complaint(&error.to_string())
}

fn lacking(what: &str) -> EngineError {
    complaint(&format!("it needs {what}, which gemmad does not have"))
}

fn complaint(why: &str) -> EngineError {
    EngineError::Template(text::line(why, LONGEST_COMPLAINT).into_owned())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use minijinja::context;

    use super::*;

    fn rendered(source: &str) -> Result<String, String> {
        let clock = || date(2026, 3, 7).at(8, 5, 9, 0);
        let jinja = Jinja::new(source, clock).map_err(|error| error.to_string())?;
        let context = context! { texts => ["é", "\"<b>\""], map => context! { b => 1.0, a => () } };
        jinja.render(context).map_err(|error| error.to_string())
    }

    #[test]
    fn what_transformers_adds_to_jinja_is_there() {
        for (source, text) in [
            (
                "{{ strftime_now('%-d %B %Y, %H:%M') }}",
                "7 March 2026, 08:05",
            ),
            (
                "{{ strftime_now('%c %x %K') }}",
                "Sat Mar  7 08:05:09 2026 03/07/26 %K",
            ),
            (
                "{% generation %}a{%- endgeneration %} {{ 1e-7 }} {{ 2.0 }}",
                "a 1e-07 2.0",
            ),
            (
                "{% for i in range(3) %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}",
                "0",
            ),
            ("{{ texts | tojson }}", r#"["é", "\"<b>\""]"#),
            (
                "{{ texts | tojson(ensure_ascii=True) }}",
                r#"["\u00e9", "\"<b>\""]"#,
            ),
            (
                "{{ texts | tojson(true, separators=(',', ':')) }}",
                r#"["\u00e9","\"<b>\""]"#,
            ),
            (
                "{{ map | tojson(sort_keys=true) }}",
                r#"{"a": null, "b": 1.0}"#,
            ),
            (
                "{{ {'b': [], 'a': {}} | tojson(indent=1) }}",
                "{\n \"b\": [],\n \"a\": {}\n}",
            ),
            ("{{ ([1] + [none]) | tojson }}", "[1, null]"),
            (
                "{{ [1, [true]] | tojson(indent='\t') }}",
                "[\n\t1,\n\t[\n\t\ttrue\n\t]\n]",
            ),
        ] {
            assert_eq!(rendered(source).as_deref(), Ok(text), "{source}");
        }
        let refused = rendered("{{ raise_exception('no turn for ' ~ 'tools') }}").unwrap_err();
        assert!(refused.contains("no turn for tools"), "{refused}");
    }

    #[test]
    fn what_is_missing_is_named_at_once() {
        for (source, missing) in [
            (
                "{% if false %}\n{% include 'x' %}{% endif %}",
                "the tag `include` (line 2)",
            ),
            ("{% extends 'x' %}", "the tag `extends` (line 1)"),
            (
                "{% if false %}{{ 1 | shout }}{% endif %}",
                "the filter `shout` (line 1)",
            ),
            (
                "{% if 1 is prime %}{% endif %}",
                "the test `prime` (line 1)",
            ),
        ] {
            let refused = rendered(source).unwrap_err();
            assert!(refused.contains(missing), "{refused}");
        }
    }

    #[test]
    fn json_that_would_never_end_is_refused() {
        let doubled = "{% set ns = namespace(x=[1]) %}{% for _ in range(40) %}{% set ns.x = [ns.x, ns.x] %}\
                       {% endfor %}{{ ns.x | tojson }}";
        let deep = "{% set ns = namespace(x=[1]) %}{% for _ in range(5000) %}{% set ns.x = [ns.x] %}\
                    {% endfor %}{{ ns.x | tojson }}";
        for source in [
            doubled,
            deep,
            "{{ range | tojson }}",
            "{{ nobody | tojson }}",
        ] {
            assert!(rendered(source).is_err());
        }
    }
}
