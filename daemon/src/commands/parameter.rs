//! Types of parameters, and which values fit them.

use std::collections::{BTreeMap, BTreeSet};

use gemmad_text as text;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::plain::{Plain, is_value, quoted};
use crate::config::Bounded;

/// Most characters of a string whose parameter gives no `longest`.
pub(super) const LONGEST: Bounded<1, 1000> = Bounded::within(200);

/// Most items of a list whose parameter gives no `most`.
pub(super) const MOST: Bounded<1, 64> = Bounded::within(16);

/// Most values of an enum or a list. Each is a branch of the grammar at one place, and the grammar's compiler accepts
/// 2,000 branches in all.
const MOST_VALUES: usize = 256;

/// Largest magnitude of a number, 2^53 - 1. Larger integers are not exact in every language that reads JSON.
const LARGEST: i64 = 9_007_199_254_740_991;

/// Most digits after the point of `min` and `max`. The grammar has a branch for each digit.
const MOST_DIGITS: usize = 6;

/// Most digits after the point of a step.
const MOST_STEP_DIGITS: usize = 3;

/// Largest step, in units of its last digit. The grammar counts in these units and has a state for each remainder.
const LARGEST_STEP: f64 = 1000.0;

/// Most steps from 0 to `min` or `max` of a `number`, so that a float separates neighbouring multiples by far.
const MOST_STEPS: f64 = 1e9;

/// Most characters of the values that a message lists.
const MOST_SAID: usize = 300;

/// A parameter of a command.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Parameter {
    /// Which values fit.
    pub kind: Kind,
    /// Its description for the model, if any.
    pub description: Option<Plain>,
    /// The unit of a number, for clients.
    pub unit: Option<Plain>,
    /// Whether the command needs a value.
    pub need: Need,
}

/// Whether a command needs a value for a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Need {
    /// It does.
    Required {
        /// The question to the person when no value was said. Without a question the model has to choose a value.
        ask: Option<Plain>,
    },
    /// It does not.
    Optional,
    /// This is the value if none is given.
    Default(Value),
}

impl Parameter {
    /// Whether the command needs a value.
    #[must_use]
    pub fn is_required(&self) -> bool {
        matches!(self.need, Need::Required { .. })
    }

    /// The question to the person when no value was said, if there is one.
    #[must_use]
    pub fn ask(&self) -> Option<&Plain> {
        match &self.need {
            Need::Required { ask } => ask.as_ref(),
            Need::Optional | Need::Default(_) => None,
        }
    }
}

/// The type of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// One of these.
    Enum(Vec<Plain>),
    /// A whole number.
    Integer {
        /// The smallest, a multiple of `step`.
        min: i64,
        /// The largest.
        max: i64,
        /// The value is a multiple of this; at least 1.
        step: i64,
    },
    /// A number.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// The value is a multiple of this; `None`: any value in the range.
        step: Option<f64>,
    },
    /// Yes or no.
    Boolean,
    /// Words, without control characters and without `<`.
    String {
        /// Most characters.
        longest: u32,
    },
    /// Several strings, at least one.
    List {
        /// The allowed items; empty: any string.
        values: Vec<Plain>,
        /// Most items.
        most: u32,
        /// Most characters of an item.
        longest: u32,
    },
}

impl Kind {
    /// Checks `value` and normalises it: `2.0` becomes `2`.
    ///
    /// # Errors
    /// When it does not fit. The error names the values that do, as in "1 to 5".
    pub fn fit(&self, value: &Value) -> Result<Value, String> {
        let fitting = match (self, value) {
            (Self::Enum(values), Value::String(text)) => one_of(values, text),
            (Self::Integer { min, max, step }, Value::Number(number)) => integer(number)
                .filter(|it| (min..=max).contains(&it) && it % step == 0)
                .map(Value::from),
            (Self::Number { min, max, step }, Value::Number(number)) => {
                let number = number.as_f64().filter(|it| (min..=max).contains(&it));
                number
                    .filter(|it| step.is_none_or(|step| is_multiple(*it, step)))
                    .map(shortest)
            }
            (Self::Boolean, Value::Bool(_)) => Some(value.clone()),
            (Self::String { longest }, Value::String(text)) => words(text, *longest),
            (
                Self::List {
                    values,
                    most,
                    longest,
                },
                Value::Array(items),
            ) => list(items, values, *most, *longest),
            _ => None,
        };
        fitting.ok_or_else(|| self.range())
    }

    /// Which values fit, in words.
    #[must_use]
    pub fn range(&self) -> String {
        let listed = |values: &[Plain]| {
            let texts: Vec<_> = values.iter().map(Plain::as_str).collect();
            text::line(&texts.join(", "), MOST_SAID).into_owned()
        };
        match self {
            Self::Enum(values) => format!("one of {}", listed(values)),
            Self::Integer { min, max, step: 1 } => format!("a whole number, {min} to {max}"),
            Self::Integer { min, max, step } => format!("a multiple of {step}, {min} to {max}"),
            Self::Number {
                min,
                max,
                step: None,
            } => format!("a number, {min} to {max}"),
            Self::Number {
                min,
                max,
                step: Some(step),
            } => {
                format!("a multiple of {step}, {min} to {max}")
            }
            Self::Boolean => "true or false".into(),
            Self::String { longest } => format!("a text of 1 to {longest} characters"),
            Self::List {
                values,
                most,
                longest,
            } if values.is_empty() => {
                format!("a list of 1 to {most} texts of 1 to {longest} characters")
            }
            Self::List { values, most, .. } => {
                format!("a list of 1 to {most} of {}", listed(values))
            }
        }
    }
}

fn one_of(values: &[Plain], text: &str) -> Option<Value> {
    let is_there = values.iter().any(|value| value.as_str() == text);
    is_there.then(|| text.into())
}

fn words(text: &str, longest: u32) -> Option<Value> {
    let fits = is_value(text) && text.chars().count() <= longest as usize;
    fits.then(|| text.into())
}

fn list(items: &[Value], values: &[Plain], most: u32, longest: u32) -> Option<Value> {
    if items.is_empty() || items.len() > most as usize {
        return None;
    }
    let items = items.iter().map(|item| match item.as_str()? {
        text if values.is_empty() => words(text, longest),
        text => one_of(values, text),
    });
    items.collect::<Option<Vec<_>>>().map(Value::Array)
}

/// The number as an integer, if it is whole: `2` and `2.0` are.
fn integer(number: &Number) -> Option<i64> {
    // Beyond 2^53 a float does not identify one integer.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    let whole = |float: f64| {
        (float.fract() == 0.0 && float.abs() <= LARGEST as f64).then_some(float as i64)
    };
    number.as_i64().or_else(|| number.as_f64().and_then(whole))
}

/// Whether `number` is a multiple of `step`, up to the rounding of decimal fractions to floats.
fn is_multiple(number: f64, step: f64) -> bool {
    let steps = number / step;
    // Both numbers and their quotient are rounded to floats.
    let inexact = steps.abs() * 4.0 * f64::EPSILON;
    (steps - steps.round()).abs() <= inexact.max(1e-9)
}

/// `2` for 2.0 and `21.5` for 21.5.
fn shortest(number: f64) -> Value {
    Number::from_f64(number)
        .as_ref()
        .and_then(integer)
        .map_or_else(|| number.into(), Value::from)
}

/// The keys of a parameter. Whether its type allows them is checked afterwards: serde loses the line of an error in
/// tagged enums.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    r#type: Type,
    description: Option<Plain>,
    unit: Option<Plain>,
    default: Option<toml::Value>,
    required: Option<bool>,
    ask: Option<Plain>,
    values: Option<Values>,
    min: Option<Limit>,
    max: Option<Limit>,
    step: Option<Step>,
    longest: Option<Bounded<1, 1000>>,
    most: Option<Bounded<1, 64>>,
    /// For training and testing a model; unused here.
    #[serde(rename = "samples")]
    _samples: Option<Vec<Plain>>,
    /// Other words for a value, for training a model; unused here.
    #[serde(rename = "spoken")]
    _spoken: Option<Spoken>,
}

/// Other words, by value. They are read only to find mistakes in them.
pub(super) type Spoken = BTreeMap<Plain, Vec<Plain>>;

/// The allowed values: at least one, none twice.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<Plain>")]
struct Values(Vec<Plain>);

/// The smallest or the largest number.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct Limit(f64);

/// The step of a number, above 0: its value is a multiple of it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct Step(f64);

impl TryFrom<Vec<Plain>> for Values {
    type Error = String;

    fn try_from(values: Vec<Plain>) -> Result<Self, String> {
        let mut seen = BTreeSet::new();
        if values.is_empty() {
            Err("it is empty; write at least one value".into())
        } else if values.len() > MOST_VALUES {
            Err(format!(
                "it has {} values, but at most {MOST_VALUES} can be told apart; use several commands, or a string",
                values.len()
            ))
        } else if let Some(twice) = values.iter().find(|value| !seen.insert(value.as_str())) {
            Err(format!(
                "{} is there twice; leave out one of them",
                quoted(twice.as_str())
            ))
        } else {
            Ok(Self(values))
        }
    }
}

impl TryFrom<f64> for Limit {
    type Error = String;

    #[allow(clippy::cast_precision_loss)] // `LARGEST` is exact as a float.
    fn try_from(number: f64) -> Result<Self, String> {
        let written = number.to_string();
        let digits = written
            .split_once('.')
            .map_or(0, |(_, digits)| digits.len());
        // False for NaN.
        let is_in_range = number.abs() <= LARGEST as f64;
        if !is_in_range {
            Err(format!(
                "{number:?} is out of range: it must be -{LARGEST} to {LARGEST}"
            ))
        } else if digits > MOST_DIGITS {
            Err(format!(
                "{number:?} has {digits} digits after the point, but at most {MOST_DIGITS} are allowed; round it"
            ))
        } else {
            Ok(Self(number))
        }
    }
}

impl TryFrom<f64> for Step {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, String> {
        // The grammar's compiler counts the digits in this way too, and for it 0.07 never becomes whole.
        let mut units = number;
        for _ in 0..MOST_STEP_DIGITS {
            if units.fract() != 0.0 {
                units *= 10.0;
            }
        }
        if units > 0.0 && units <= LARGEST_STEP && units.fract() == 0.0 {
            Ok(Self(number))
        } else {
            Err(format!(
                "{number:?} is no step that a model can be held to; it must be above 0 with at most \
                 {MOST_STEP_DIGITS} digits after the point and, without the point, at most {LARGEST_STEP}, as in \
                 0.1, 0.25, 5 or 100"
            ))
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Enum,
    Integer,
    Number,
    Boolean,
    String,
    List,
}

impl TryFrom<Written> for Parameter {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        written.check_keys()?;
        let kind = written.kind()?;
        let need = match (&written.default, written.required) {
            (Some(_), Some(true)) => {
                return Err("it is `required` and has a `default`; leave out one of them".into());
            }
            (Some(default), _) => Need::Default(fit_default(&kind, default)?),
            (None, Some(false)) => Need::Optional,
            (None, _) => Need::Required {
                ask: written.ask.clone(),
            },
        };
        if written.ask.is_some() && !matches!(need, Need::Required { .. }) {
            return Err("`ask` is for what is required; leave it out".into());
        }
        Ok(Self {
            kind,
            description: written.description,
            unit: written.unit,
            need,
        })
    }
}

fn fit_default(kind: &Kind, default: &toml::Value) -> Result<Value, String> {
    let value = serde_json::to_value(default).map_err(|error| error.to_string())?;
    kind.fit(&value)
        .map_err(|range| format!("the default does not fit; it must be {range}"))
}

impl Written {
    /// Refuses keys that the type does not have.
    fn check_keys(&self) -> Result<(), String> {
        let number = matches!(self.r#type, Type::Integer | Type::Number);
        let several = matches!(self.r#type, Type::Enum | Type::List);
        let text = matches!(self.r#type, Type::String | Type::List);
        let keys = [
            ("values", self.values.is_some(), several),
            ("min", self.min.is_some(), number),
            ("max", self.max.is_some(), number),
            ("step", self.step.is_some(), number),
            ("unit", self.unit.is_some(), number),
            ("longest", self.longest.is_some(), text),
            ("most", self.most.is_some(), self.r#type == Type::List),
        ];
        match keys.iter().find(|(_, given, allowed)| *given && !allowed) {
            Some((key, ..)) => Err(format!("`{key}` is not for this type; leave it out")),
            None => Ok(()),
        }
    }

    fn kind(&self) -> Result<Kind, String> {
        let longest = self.longest.unwrap_or(LONGEST).get();
        let values = self.values.clone().map(|Values(values)| values);
        match self.r#type {
            Type::Enum => values
                .map(Kind::Enum)
                .ok_or("an enum needs `values`".into()),
            Type::Integer => self.integer(),
            Type::Number => self.number(),
            Type::Boolean => Ok(Kind::Boolean),
            Type::String => Ok(Kind::String { longest }),
            Type::List => Ok(Kind::List {
                values: values.unwrap_or_default(),
                most: self.most.unwrap_or(MOST).get(),
                longest,
            }),
        }
    }

    fn range(&self) -> Result<(f64, f64), String> {
        match (self.min, self.max) {
            (Some(Limit(min)), Some(Limit(max))) if min <= max => Ok((min, max)),
            (Some(_), Some(_)) => Err("`min` is larger than `max`".into()),
            _ => Err(
                "a number needs `min` and `max`, so that nothing out of range can be asked for"
                    .into(),
            ),
        }
    }

    fn number(&self) -> Result<Kind, String> {
        let (min, max) = self.range()?;
        let step = self.step.map(|Step(step)| step);
        let steps = |step: f64| min.abs().max(max.abs()) / step;
        if step.is_some_and(|step| steps(step) > MOST_STEPS) {
            return Err(format!(
                "`min` or `max` is more than {MOST_STEPS} steps; make `step` larger, or leave it out"
            ));
        }
        if step.is_some_and(|step| !is_multiple(min, step)) {
            return Err("`min` is no multiple of `step`".into());
        }
        Ok(Kind::Number { min, max, step })
    }

    fn integer(&self) -> Result<Kind, String> {
        let whole = |number: f64| {
            let number = Number::from_f64(number);
            number.as_ref().and_then(integer).ok_or_else(|| {
                String::from("`min`, `max` and `step` of an integer are whole numbers up to 2^53")
            })
        };
        let (min, max) = self.range()?;
        let step = self.step.map_or(1.0, |Step(step)| step);
        let (min, max, step) = (whole(min)?, whole(max)?, whole(step)?);
        if min % step != 0 {
            return Err("`min` is no multiple of `step`".into());
        }
        Ok(Kind::Integer { min, max, step })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parameter(text: &str) -> Result<Parameter, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    fn fit(text: &str, value: &Value) -> Option<Value> {
        parameter(text).unwrap().kind.fit(value).ok()
    }

    #[test]
    fn a_value_fits_its_type_and_range_or_does_not_fit() {
        let integer = "type = \"integer\"\nmin = 0\nmax = 100\nstep = 5";
        assert_eq!(fit(integer, &json!(35)), Some(json!(35)));
        assert_eq!(fit(integer, &json!(35.0)), Some(json!(35)));
        for wrong in [
            json!(36),
            json!(105),
            json!(-5),
            json!(2.5),
            json!("35"),
            json!(null),
            json!(1e300),
        ] {
            assert_eq!(fit(integer, &wrong), None, "{wrong}");
        }
        let number = "type = \"number\"\nmin = 5\nmax = 35\nstep = 0.1";
        assert_eq!(fit(number, &json!(21.3)), Some(json!(21.3)));
        assert_eq!(fit(number, &json!(21.0)), Some(json!(21)));
        assert_eq!(fit(number, &json!(21.35)), None);
        let list = "type = \"list\"\nvalues = [\"a\", \"b\"]\nmost = 2";
        assert_eq!(fit(list, &json!(["b", "a"])), Some(json!(["b", "a"])));
        for wrong in [
            json!([]),
            json!(["a", "c"]),
            json!(["a", "a", "a"]),
            json!("a"),
            json!([1]),
        ] {
            assert_eq!(fit(list, &wrong), None, "{wrong}");
        }
        let text = "type = \"string\"\nlongest = 4";
        assert_eq!(fit(text, &json!("größ")), Some(json!("größ")));
        for wrong in [
            "",
            "größe",
            "a\nb",
            "<|x",
            "\u{F0001}",
            "a\u{202E}",
            "o\u{200D}n",
        ] {
            assert_eq!(fit(text, &json!(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_parameter_that_makes_no_sense_is_refused() {
        for (text, why) in [
            ("type = \"enum\"", "needs `values`"),
            ("type = \"integer\"\nmin = 1", "`min` and `max`"),
            ("type = \"integer\"\nmin = 2\nmax = 1", "larger than `max`"),
            ("type = \"integer\"\nmin = 0.5\nmax = 1", "whole numbers"),
            (
                "type = \"number\"\nmin = 0\nmax = nan",
                "NaN is out of range",
            ),
            (
                "type = \"number\"\nmin = 0\nmax = inf",
                "inf is out of range",
            ),
            (
                "type = \"number\"\nmin = -inf\nmax = 0",
                "-inf is out of range",
            ),
            ("type = \"number\"\nmin = 0\nmax = 1e300", "is out of range"),
            (
                "type = \"integer\"\nmin = 0\nmax = 9007199254740993",
                "is out of range",
            ),
            (
                "type = \"number\"\nmin = 0\nmax = 1\nstep = 0",
                "0.0 is no step",
            ),
            (
                "type = \"number\"\nmin = 0\nmax = 1\nstep = 1e-9",
                "1e-9 is no step",
            ),
            (
                "type = \"number\"\nmin = 0\nmax = 1\nstep = 0.07",
                "0.07 is no step",
            ),
            (
                "type = \"number\"\nmin = 5e-324\nmax = 1",
                "digits after the point",
            ),
            (
                "type = \"number\"\nmin = 0\nmax = 1\nstep = nan",
                "NaN is no step",
            ),
            (
                "type = \"number\"\nmin = 0\nmax = 1e8\nstep = 0.001",
                "more than 1000000000 steps",
            ),
            (
                "type = \"integer\"\nmin = 0\nmax = 9007199254740991\nstep = 9007199254740991",
                "9007199254740991.0 is no step",
            ),
            (
                "type = \"integer\"\nmin = 0\nmax = 9\nstep = 0.5",
                "whole numbers",
            ),
            ("type = \"string\"\nlongest = 1001", "1 to 1000"),
            ("type = \"string\"\nlongest = 0", "1 to 1000"),
            ("type = \"list\"\nmost = 65", "1 to 64"),
            (
                "type = \"list\"\nvalues = [\"a\", \"a\"]",
                "\"a\" is there twice",
            ),
            ("type = \"enum\"\nvalues = []", "it is empty"),
            ("type = \"list\"\nsamples = [\"o\\u200bn\"]", "holds U+200B"),
            (
                "type = \"boolean\"\nspoken = { true = [\"y\\u2028\"] }",
                "holds U+2028",
            ),
            ("type = \"boolean\"\nask = \"On\\u202e?\"", "holds U+202E"),
            ("type = \"boolean\"\nmin = 1", "`min` is not for this type"),
            ("type = \"boolean\"\ndefault = 1", "true or false"),
            (
                "type = \"boolean\"\ndefault = true\nask = \"On?\"",
                "`ask` is for",
            ),
            ("type = \"boolean\"\nask = \"<|turn>\"", "holds '<'"),
            ("type = \"colour\"", "unknown variant"),
            ("type = \"boolean\"\ncolour = 1", "unknown field"),
        ] {
            let refused = parameter(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
