//! Calls as the model writes them, in Gemma 4's notation, read strictly.
//!
//! ```text
//! <|tool_call>call:set_light{room:<|"|>kitchen<|"|>,state:<|"|>on<|"|>}<tool_call|>
//! ```
//!
//! Strings stand between the token `<|"|>`; numbers and booleans are bare; lists are in brackets. A string
//! cannot hold `<`, so its content can neither end it nor begin another call. Any deviation makes the whole answer
//! malformed: a call is never guessed from half of one.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Number, Value};

use super::plain::{is_name, is_plain};

/// Opens a call.
pub(super) const OPEN: &str = "<|tool_call>";
/// Closes it.
pub(super) const CLOSE: &str = "<tool_call|>";
/// Stands before and after a string.
pub(super) const QUOTE: &str = "<|\"|>";

/// Most calls in one answer.
pub(super) const MOST_CALLS: usize = 8;

/// Most characters of a number, 40: a sign, the 16 digits of 2^53, a point, as many digits again, and a margin.
const LONGEST_NUMBER: usize = 40;

/// Values by parameter, in the order of the parameters' names.
pub type Arguments = BTreeMap<String, Value>;

/// A command and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The command's name.
    pub name: String,
    /// Its arguments.
    pub arguments: Arguments,
}

/// Why an answer could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model's call is malformed: expected {wanted} at byte {at}")]
pub struct Malformed {
    /// What was expected.
    pub wanted: &'static str,
    /// The place, in bytes from the start of the answer.
    pub at: usize,
}

/// Whether an answer with this beginning may still become a call. Any other answer is words.
#[must_use]
pub fn may_be_call(beginning: &str) -> bool {
    let beginning = beginning.trim_start();
    beginning.starts_with(OPEN) || OPEN.starts_with(beginning)
}

impl Call {
    /// Reads an answer that consists of calls, one after the other.
    ///
    /// # Errors
    /// When it holds anything else, or too many calls.
    pub fn read_all(answer: &str) -> Result<Vec<Self>, Malformed> {
        let mut reader = Reader {
            text: answer,
            at: 0,
        };
        let mut calls = Vec::new();
        while !reader.is_at_end() {
            if calls.len() == MOST_CALLS {
                return Err(reader.wanted("the end"));
            }
            calls.push(reader.call()?);
        }
        Ok(calls)
    }

    /// The arguments as JSON, keys sorted.
    #[must_use]
    pub fn arguments_json(&self) -> String {
        // The values are JSON already, so writing them cannot fail.
        serde_json::to_string(&self.arguments).unwrap_or_default()
    }
}

/// Gemma 4's notation, which [`Call::read_all`] reads back.
impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{OPEN}call:{}{{", self.name)?;
        for (nth, (key, value)) in self.arguments.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            write!(formatter, "{comma}{key}:{}", notation(value))?;
        }
        write!(formatter, "}}{CLOSE}")
    }
}

/// A value in Gemma 4's notation.
fn notation(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{QUOTE}{text}{QUOTE}"),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(notation).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn call(&mut self) -> Result<Call, Malformed> {
        self.require(OPEN)?;
        self.require("call:")?;
        let name = self.name()?.to_owned();
        self.require("{")?;
        let mut arguments = Arguments::new();
        while !self.eat("}") {
            if !arguments.is_empty() {
                self.require(",")?;
            }
            let key = self.name()?.to_owned();
            self.require(":")?;
            let value = self.value()?;
            if arguments.insert(key, value).is_some() {
                return Err(self.wanted("a parameter that was not given before"));
            }
        }
        self.require(CLOSE)?;
        Ok(Call { name, arguments })
    }

    fn value(&mut self) -> Result<Value, Malformed> {
        if !self.eat("[") {
            return self.single();
        }
        let mut items = Vec::new();
        while !self.eat("]") {
            if !items.is_empty() {
                self.require(",")?;
            }
            items.push(self.single()?);
        }
        Ok(Value::Array(items))
    }

    /// A value that is no list.
    fn single(&mut self) -> Result<Value, Malformed> {
        if self.eat(QUOTE) {
            let text = self.take_while(is_plain).to_owned();
            self.require(QUOTE)?;
            return Ok(Value::String(text));
        }
        let start = self.at;
        match self.take_while(|it| it.is_ascii_alphanumeric() || "+-.".contains(it)) {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            number if number.len() <= LONGEST_NUMBER => {
                let number = number.parse::<Number>();
                number.map(Value::Number).map_err(|_| Malformed {
                    wanted: "a value",
                    at: start,
                })
            }
            _ => Err(Malformed {
                wanted: "a shorter number",
                at: start,
            }),
        }
    }

    fn name(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        let name = self.take_while(|it| it.is_ascii_alphanumeric() || it == '_');
        if is_name(name) {
            Ok(name)
        } else {
            Err(Malformed {
                wanted: "a name",
                at: start,
            })
        }
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.find(|it| !fits(it)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn eat(&mut self, what: &str) -> bool {
        let is_there = self.text[self.at..].starts_with(what);
        if is_there {
            self.at += what.len();
        }
        is_there
    }

    fn require(&mut self, what: &'static str) -> Result<(), Malformed> {
        if self.eat(what) {
            Ok(())
        } else {
            Err(self.wanted(what))
        }
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn wanted(&self, wanted: &'static str) -> Malformed {
        Malformed {
            wanted,
            at: self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::plain::CHARACTER;
    use super::*;

    fn read(answer: &str) -> Result<Vec<Call>, Malformed> {
        Call::read_all(answer)
    }

    #[test]
    fn calls_are_read_in_order_with_values_of_every_type() {
        let answer = "<|tool_call>call:a{f:-2.5,i:3,l:[<|\"|>x<|\"|>,<|\"|>y z<|\"|>],s:<|\"|>{\"q\":[1],}<|\"|>,t:true}\
                      <tool_call|><|tool_call>call:b_2{}<tool_call|>";
        let calls = read(answer).unwrap();
        assert_eq!(calls.len(), 2);
        let arguments =
            json!({"f": -2.5, "i": 3, "l": ["x", "y z"], "s": "{\"q\":[1],}", "t": true});
        assert_eq!(json!(calls[0].arguments), arguments);
        assert_eq!(calls[1].name, "b_2");
        let written: String = calls.iter().map(Call::to_string).collect();
        assert_eq!(written, answer);
    }

    #[test]
    fn what_is_not_exactly_a_call_is_none() {
        for answer in [
            "words",
            " <|tool_call>call:a{}<tool_call|>",
            "<|tool_call>call:a{}<tool_call|> and words",
            "<|tool_call>call:a{}",
            "<|tool_call>call:A{}<tool_call|>",
            "<|tool_call>call:a{x:1,x:2}<tool_call|>",
            "<|tool_call>call:a{x:1,}<tool_call|>",
            "<|tool_call>call:a{x:}<tool_call|>",
            "<|tool_call>call:a{x:01}<tool_call|>",
            "<|tool_call>call:a{x:NaN}<tool_call|>",
            "<|tool_call>call:a{x:1e999}<tool_call|>",
            "<|tool_call>call:a{x:null}<tool_call|>",
            "<|tool_call>call:a{x:[[1]]}<tool_call|>",
            "<|tool_call>call:a{x:{y:1}}<tool_call|>",
            "<|tool_call>call:a{x:<|\"|>open}<tool_call|>",
            "<|tool_call>call:a{x:<|\"|>a<|\"|>},b:<|\"|>}<tool_call|>",
            "<|tool_call>call:a{x:<|\"|><|tool_call>call:b{}<tool_call|><|\"|>}<tool_call|>",
            "<|tool_call>call:a{x:<|\"|>two\nlines<|\"|>}<tool_call|>",
        ] {
            assert!(read(answer).is_err(), "{answer}");
        }
        let digits = "1".repeat(10_000);
        assert!(read(&format!("<|tool_call>call:a{{x:{digits}}}<tool_call|>")).is_err());
        assert!(read(&"<|tool_call>call:a{}<tool_call|>".repeat(9)).is_err());
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = || prop::string::string_regex(&format!("{}{{0,12}}", *CHARACTER)).unwrap();
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            (-1_000_000_i64..1_000_000).prop_map(Value::from),
            (-1_000_000..1_000_000).prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
            text().prop_map(Value::from),
            prop::collection::vec(text().prop_map(Value::from), 0..4).prop_map(Value::Array),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            name in "[a-z][a-z0-9_]{0,8}",
            arguments in prop::collection::btree_map("[a-z][a-z0-9_]{0,8}", value(), 0..5),
        ) {
            let call = Call { name, arguments };
            prop_assert_eq!(read(&call.to_string()).unwrap(), vec![call]);
        }

        #[test]
        fn no_text_makes_it_panic(
            parts in prop::collection::vec(
                prop_oneof![
                    Just(OPEN.to_owned()), Just(CLOSE.to_owned()), Just(QUOTE.to_owned()),
                    Just("call:".to_owned()), "[a-z{}\\[\\]:,0-9.eE+-]{0,6}", ".{0,6}",
                ],
                0..30,
            ),
        ) {
            if let Ok(calls) = read(&parts.concat()) {
                let written: String = calls.iter().map(Call::to_string).collect();
                prop_assert!(read(&written).is_ok());
            }
        }
    }
}
