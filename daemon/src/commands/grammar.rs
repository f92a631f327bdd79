//! The grammar of the model's answer: words, or calls of declared commands with declared values.
//!
//! The grammar is in llguidance's dialect of Lark, where `<|tool_call>` is the token itself and not text that looks
//! like it. Parameters stand in the order of their names, as Gemma 4 writes them. A parameter that is optional or has
//! a question (`ask`) may be left out, so that the model asks for a missing value instead of guessing it.

use std::fmt::Write as _;

use serde_json::Value;

use super::call::{CLOSE, MOST_CALLS, OPEN, QUOTE};
use super::plain::CHARACTER;
use super::{Catalogue, Command, Kind, Name, Parameter, Plain};

/// Most characters that the grammar counts. A longer text is as long as it is, and checked when it is complete: over a large
/// vocabulary, each counted character costs 30 states of the lexer.
const MOST_COUNTED: u32 = 100;

impl Catalogue {
    /// The grammar of an answer.
    #[must_use]
    pub fn grammar(&self) -> String {
        let mut grammar = Grammar::default();
        let names: Vec<_> = self
            .commands
            .keys()
            .map(|name| format!("c_{name}"))
            .collect();
        let start = if names.is_empty() {
            "words"
        } else {
            "words | calls"
        };
        grammar.rule("start", start);
        let character = &*CHARACTER;
        // The tokens of an answer are counted already.
        grammar.rule("words", &format!("/({character}|\\n)+/"));
        if names.is_empty() {
            return grammar.0;
        }
        grammar.rule("calls", &format!("call{{1,{MOST_CALLS}}}"));
        grammar.rule("call", &format!("{OPEN} ({}) {CLOSE}", names.join(" | ")));
        for (name, command) in &self.commands {
            grammar.command(name, command);
        }
        grammar.0
    }
}

#[derive(Default)]
struct Grammar(String);

impl Grammar {
    fn rule(&mut self, name: &str, body: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name}: {body}");
    }

    /// The rules of a command: its name, then one rule or two for each parameter. `first` applies before any argument,
    /// `next` after one, where a comma comes before the next.
    fn command(&mut self, name: &Name, command: &Command) {
        self.rule(
            &format!("c_{name}"),
            &format!("{} first_{name}_0", literal(&format!("call:{name}{{"))),
        );
        for (nth, (key, parameter)) in command.parameters.iter().enumerate() {
            let after = nth + 1;
            let value = format!("{} {}", literal(&format!("{key}:")), value(&parameter.kind));
            let mut first = format!("{value} next_{name}_{after}");
            let mut next = format!("\",\" {value} next_{name}_{after}");
            if may_be_left_out(parameter) {
                let _ = write!(first, " | first_{name}_{after}");
                let _ = write!(next, " | next_{name}_{after}");
            }
            self.rule(&format!("first_{name}_{nth}"), &first);
            if nth > 0 {
                self.rule(&format!("next_{name}_{nth}"), &next);
            }
        }
        let end = command.parameters.len();
        self.rule(&format!("first_{name}_{end}"), "\"}\"");
        if end > 0 {
            self.rule(&format!("next_{name}_{end}"), "\"}\"");
        }
    }
}

fn may_be_left_out(parameter: &Parameter) -> bool {
    !parameter.is_required() || parameter.ask().is_some()
}

fn value(kind: &Kind) -> String {
    match kind {
        Kind::Enum(values) => quoted(&one_of(values)),
        Kind::String { longest } => quoted(&text(*longest)),
        Kind::Boolean => "(\"true\" | \"false\")".into(),
        Kind::Integer { min, max, step } => {
            let step = (*step != 1).then(|| Value::from(*step));
            number("integer", &(*min).into(), &(*max).into(), step.as_ref())
        }
        Kind::Number { min, max, step } => {
            let step = step.map(Value::from);
            number("number", &(*min).into(), &(*max).into(), step.as_ref())
        }
        Kind::List {
            values,
            most,
            longest,
        } => {
            let item = if values.is_empty() {
                quoted(&text(*longest))
            } else {
                quoted(&one_of(values))
            };
            format!("\"[\" {item} (\",\" {item}){{0,{}}} \"]\"", most - 1)
        }
    }
}

fn quoted(inner: &str) -> String {
    format!("{QUOTE} {inner} {QUOTE}")
}

fn one_of(values: &[Plain]) -> String {
    let values: Vec<_> = values.iter().map(|value| literal(value.as_str())).collect();
    format!("({})", values.join(" | "))
}

fn text(longest: u32) -> String {
    let times = match longest {
        ..=MOST_COUNTED => format!("{{1,{longest}}}"),
        _ => "+".into(),
    };
    format!("/{}{times}/", *CHARACTER)
}

fn number(kind: &str, min: &Value, max: &Value, step: Option<&Value>) -> String {
    let step = step.map_or_else(String::new, |step| format!(r#","multipleOf":{step}"#));
    format!(r#"%json {{"type":"{kind}","minimum":{min},"maximum":{max}{step}}}"#)
}

/// A string literal of the grammar, with JSON's escapes.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_has_to_be_said_and_is_not_asked_for_cannot_be_left_out() {
        let text = r#"
            [commands.dim]
            description = "Dim lights."
            [commands.dim.parameters]
            level = { type = "integer", min = 0, max = 100 }
            room = { type = "enum", values = ["kitchen", "the \"lab\""], ask = "Where?" }
        "#;
        let grammar = Catalogue::parse(Path::new("x.toml"), text)
            .unwrap()
            .grammar();
        for line in [
            "call: <|tool_call> (c_dim) <tool_call|>",
            r#"c_dim: "call:dim{" first_dim_0"#,
            r#"first_dim_0: "level:" %json {"type":"integer","minimum":0,"maximum":100} next_dim_1"#,
            r#"next_dim_1: "," "room:" <|"|> ("kitchen" | "the \"lab\"") <|"|> next_dim_2 | next_dim_2"#,
            r#"next_dim_2: "}""#,
        ] {
            assert!(grammar.lines().any(|it| it == line), "{line}\n{grammar}");
        }
    }

    #[test]
    fn where_nothing_may_be_called_there_are_words_only() {
        let grammar = Catalogue::default().grammar();
        assert!(grammar.starts_with("start: words\n"), "{grammar}");
        assert!(!grammar.contains("call"), "{grammar}");
    }
}
