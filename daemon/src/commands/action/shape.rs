//! A JSON value of the catalogue with parameters in it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::text::{Fixed, Text, Unfilled, always};
use crate::commands::{Arguments, Name, Parameter};

/// The value. Texts may have parameters in them; a text that is only a parameter takes the parameter's type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub(super) enum Shape {
    Text(Text),
    Boolean(bool),
    Integer(i64),
    Number(f64),
    List(Vec<Self>),
    Table(BTreeMap<Fixed, Self>),
}

impl Shape {
    /// Checks that every parameter in it always has a value.
    ///
    /// # Errors
    /// The first problem found.
    pub(super) fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        match self {
            Self::Text(text) => match text.whole() {
                Some(name) => always(name, parameters).map(|_| ()),
                None => text.check(parameters),
            },
            Self::List(values) => values.iter().try_for_each(|it| it.check(parameters)),
            Self::Table(values) => values.values().try_for_each(|it| it.check(parameters)),
            Self::Boolean(_) | Self::Integer(_) | Self::Number(_) => Ok(()),
        }
    }

    /// The value with `arguments` filled in.
    ///
    /// # Errors
    /// When one is missing, which [`Self::check`] rules out.
    pub(super) fn fill(&self, arguments: &Arguments) -> Result<Value, Unfilled> {
        Ok(match self {
            Self::Text(text) => match text.whole().and_then(|name| arguments.get(name.as_str())) {
                Some(value) => value.clone(),
                None => text.fill(arguments)?.into(),
            },
            Self::Boolean(value) => (*value).into(),
            Self::Integer(value) => (*value).into(),
            Self::Number(value) => (*value).into(),
            Self::List(values) => {
                let filled: Result<Vec<_>, _> =
                    values.iter().map(|it| it.fill(arguments)).collect();
                filled?.into()
            }
            Self::Table(values) => {
                let filled = values
                    .iter()
                    .map(|(key, it)| Ok((key.as_str().to_owned(), it.fill(arguments)?)));
                Value::Object(filled.collect::<Result<_, Unfilled>>()?)
            }
        })
    }
}

impl TryFrom<toml::Value> for Shape {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        Ok(match value {
            toml::Value::String(text) => Self::Text(text.try_into()?),
            toml::Value::Boolean(value) => Self::Boolean(value),
            toml::Value::Integer(value) => Self::Integer(value),
            toml::Value::Float(value) if value.is_finite() => Self::Number(value),
            toml::Value::Array(values) => {
                let read: Result<_, _> = values.into_iter().map(Self::try_from).collect();
                Self::List(read?)
            }
            toml::Value::Table(values) => {
                let read = |(key, it)| Ok((Fixed::try_from(key)?, Self::try_from(it)?));
                Self::Table(
                    values
                        .into_iter()
                        .map(read)
                        .collect::<Result<_, String>>()?,
                )
            }
            other @ (toml::Value::Float(_) | toml::Value::Datetime(_)) => {
                return Err(format!(
                    "JSON has no {other}; write it as a text, in quotation marks"
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::action::testing::call;

    fn fill(text: &str) -> Result<Value, String> {
        let table: toml::Table = text.parse().unwrap();
        let shape = Shape::try_from(table["it"].clone())?;
        shape.fill(&call().arguments).map_err(|why| why.to_string())
    }

    #[test]
    fn a_parameter_alone_keeps_its_type() {
        let filled =
            fill(r#"it = { "{{a}}" = ["{count}", "x{count}", "{many}"], b = [true, 1, 0.5] }"#);
        let wanted = serde_json::json!({"{a}": [3, "x3", ["a", "b"]], "b": [true, 1, 0.5]});
        assert_eq!(filled, Ok(wanted));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_in_words() {
        for (text, why) in [
            (r#"it = { "{way}" = 1 }"#, "no parameter can be in it"),
            (r#"it = ["{way"]"#, "a brace too many"),
            ("it = [nan]", "JSON has no nan"),
            ("it = 1979-05-27", "JSON has no 1979-05-27"),
            (r#"it = "{maybe}""#, "no value for {maybe}"),
        ] {
            let refused = fill(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
