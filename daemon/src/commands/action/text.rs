//! A text of the catalogue with parameters in it: `--volume={percent}`. A value is put in as it is, and stays a part of
//! that one text whatever characters it has.
//!
//! Every text of an action is a [`Text`] or a [`Fixed`], so a `{parameter}` is either filled in or refused, and never
//! passed on literally.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::ActionError;
use crate::commands::{Arguments, Kind, Name, Need, Parameter};

/// The text. `{{` and `}}` stand for the braces themselves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(in crate::commands) struct Text(Vec<Part>);

/// A text that cannot have parameters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Fixed(String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Fixed(String),
    Value(Name),
}

/// The parameter of a text that has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no value for {{{0}}}")]
pub(in crate::commands) struct Unfilled(Name);

impl From<Unfilled> for ActionError {
    fn from(unfilled: Unfilled) -> Self {
        Self::failed(unfilled.to_string())
    }
}

impl Text {
    /// The whole text, if there is no parameter in it.
    pub(super) fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Fixed(text)] => Some(text),
            _ => None,
        }
    }

    /// The parameter, if the whole text is one.
    pub(super) fn whole(&self) -> Option<&Name> {
        match self.0.as_slice() {
            [Part::Value(name)] => Some(name),
            _ => None,
        }
    }

    /// The parameter it begins with, if any.
    pub(super) fn first(&self) -> Option<&Name> {
        match self.0.first() {
            Some(Part::Value(name)) => Some(name),
            _ => None,
        }
    }

    /// Checks that every parameter in it always has a value, and that none is a list.
    ///
    /// # Errors
    /// The first problem found.
    pub(in crate::commands) fn check(
        &self,
        parameters: &BTreeMap<Name, Parameter>,
    ) -> Result<(), String> {
        for part in &self.0 {
            let Part::Value(name) = part else { continue };
            if matches!(always(name, parameters)?.kind, Kind::List { .. }) {
                return Err(format!("{{{name}}} is a list, which is no text"));
            }
        }
        Ok(())
    }

    /// The text with `arguments` filled in.
    ///
    /// # Errors
    /// When one is missing, which [`Self::check`] rules out.
    pub(super) fn fill(&self, arguments: &Arguments) -> Result<String, Unfilled> {
        self.fill_with(arguments, str::to_owned, |value| value)
    }

    /// The same, with `fixed` and `value` applied to the fixed parts and to the values.
    ///
    /// # Errors
    /// As above.
    pub(in crate::commands) fn fill_with(
        &self,
        arguments: &Arguments,
        fixed: impl Fn(&str) -> String,
        value: impl Fn(String) -> String,
    ) -> Result<String, Unfilled> {
        let parts = self.0.iter().map(|part| match part {
            Part::Fixed(text) => Ok(fixed(text)),
            Part::Value(name) => match arguments.get(name.as_str()) {
                Some(Value::String(text)) => Ok(value(text.clone())),
                Some(other) => Ok(value(other.to_string())),
                None => Err(Unfilled(name.clone())),
            },
        });
        parts.collect()
    }
}

impl Fixed {
    /// The text, with `{{` and `}}` read as single braces.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Fixed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fixed = Text::try_from(text.clone())?.fixed().map(str::to_owned);
        fixed.map(Self).ok_or_else(|| {
            format!("{text:?} is not filled in, so no parameter can be in it; a brace itself is written twice")
        })
    }
}

/// The parameter of this name, if it always has a value.
///
/// # Errors
/// When it does not exist or may be left out.
pub(super) fn always<'a>(
    name: &Name,
    parameters: &'a BTreeMap<Name, Parameter>,
) -> Result<&'a Parameter, String> {
    let parameter = parameters.get(name);
    let parameter = parameter.ok_or_else(|| format!("there is no parameter {{{name}}}"))?;
    match parameter.need {
        Need::Required { .. } | Need::Default(_) => Ok(parameter),
        Need::Optional => Err(format!(
            "{{{name}}} may be left out; give it a `default`, or take the arguments as JSON"
        )),
    }
}

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let braces = || format!("{text:?} has a brace too many; a brace itself is written twice");
        if text.contains('\0') {
            return Err(format!(
                "{text:?} has a NUL character, where programs take a text to end; leave it out"
            ));
        }
        let mut parts = Vec::new();
        let mut fixed = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            fixed.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                fixed.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = rest
                .split_once('}')
                .filter(|_| brace == "{")
                .ok_or_else(braces)?;
            if !fixed.is_empty() {
                parts.push(Part::Fixed(std::mem::take(&mut fixed)));
            }
            parts.push(Part::Value(Name::try_from(name.to_owned())?));
            rest = after;
        }
        fixed.push_str(rest);
        if !fixed.is_empty() {
            parts.push(Part::Fixed(fixed));
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::action::testing::call;

    fn fill(text: &str) -> Result<String, String> {
        let text = Text::try_from(text.to_owned())?;
        text.fill(&call().arguments).map_err(|why| why.to_string())
    }

    #[test]
    fn values_are_put_in_once_and_are_not_read_again() {
        assert_eq!(fill("--x={count}/{way}").unwrap(), "--x=3/up");
        assert_eq!(
            fill("{{count}} {word}").unwrap(),
            "{count} -n $(id); 'x' \"y\" *"
        );
        assert_eq!(fill("{{{count}").unwrap(), "{3");
        assert_eq!(fill("").unwrap(), "");
        for wrong in ["{count", "count}", "{}", "{Count}", "{a b}", "a\0b"] {
            assert!(fill(wrong).is_err(), "{wrong}");
        }
        assert_eq!(fill("{maybe}"), Err("there is no value for {maybe}".into()));
    }

    #[test]
    fn a_parameter_where_none_is_filled_in_is_refused() {
        let fixed = |text: &str| Fixed::try_from(text.to_owned());
        assert_eq!(fixed("/run/{{x}}").unwrap().as_str(), "/run/{x}");
        assert!(fixed("/run/{way}").unwrap_err().contains("not filled in"));
    }
}
