//! An action that calls a method on D-Bus, with arguments of declared types.
//!
//! Each call opens a connection of its own. That costs a millisecond, and makes a restart of the bus harmless.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use zbus::names::{BusName, InterfaceName, MemberName};
use zbus::wire::StructureBuilder;
use zbus::{Connection, ObjectPath, Structure, Variant};

use super::error::ActionError;
use super::job::{Job, Output, Timeout};
use super::shape::Shape;
use super::text::{Fixed, always};
use crate::commands::{Arguments, Kind, Name, Parameter};

/// A method to call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    #[serde(default)]
    bus: Which,
    destination: Fixed,
    path: Fixed,
    interface: Fixed,
    member: Fixed,
    #[serde(default)]
    arguments: Vec<Argument>,
    #[serde(default)]
    pub(super) timeout_ms: Timeout,
    #[serde(default)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    #[default]
    System,
    Session,
}

/// An argument and its declared type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    r#type: Type,
    value: Shape,
}

/// Types of D-Bus, by their signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Type {
    #[serde(rename = "b")]
    Boolean,
    #[serde(rename = "y")]
    U8,
    #[serde(rename = "n")]
    I16,
    #[serde(rename = "q")]
    U16,
    #[serde(rename = "i")]
    I32,
    #[serde(rename = "u")]
    U32,
    #[serde(rename = "x")]
    I64,
    #[serde(rename = "t")]
    U64,
    #[serde(rename = "d")]
    F64,
    #[serde(rename = "s")]
    Text,
    #[serde(rename = "as")]
    Texts,
}

impl Type {
    /// `value` as this type; `None` if it is of another.
    fn variant(self, value: &Value) -> Option<Variant<'static>> {
        Some(match self {
            Self::Boolean => value.as_bool()?.into(),
            Self::U8 => u8::try_from(value.as_u64()?).ok()?.into(),
            Self::I16 => i16::try_from(value.as_i64()?).ok()?.into(),
            Self::U16 => u16::try_from(value.as_u64()?).ok()?.into(),
            Self::I32 => i32::try_from(value.as_i64()?).ok()?.into(),
            Self::U32 => u32::try_from(value.as_u64()?).ok()?.into(),
            Self::I64 => value.as_i64()?.into(),
            Self::U64 => value.as_u64()?.into(),
            Self::F64 => value.as_f64()?.into(),
            Self::Text => value.as_str()?.to_owned().into(),
            Self::Texts => {
                let texts = value.as_array()?.iter();
                let texts: Option<Vec<_>> = texts.map(|it| Some(it.as_str()?.to_owned())).collect();
                texts?.into()
            }
        })
    }

    /// Whether every value of a parameter of this kind is of this type.
    fn takes(self, kind: &Kind) -> bool {
        let takes = |value: Value| self.variant(&value).is_some();
        match kind {
            Kind::Enum(_) | Kind::String { .. } => self == Self::Text,
            Kind::Integer { min, max, .. } => takes((*min).into()) && takes((*max).into()),
            Kind::Number { .. } => self == Self::F64,
            Kind::Boolean => self == Self::Boolean,
            Kind::List { .. } => self == Self::Texts,
        }
    }

    /// Whether `value` is of this type for all values of its parameters.
    ///
    /// # Errors
    /// When a parameter in it may have no value, or is a list within a text.
    fn fits(self, value: &Shape, parameters: &BTreeMap<Name, Parameter>) -> Result<bool, String> {
        match value {
            Shape::Text(text) => match text.whole() {
                Some(name) => Ok(self.takes(&always(name, parameters)?.kind)),
                None => text.check(parameters).map(|()| self == Self::Text),
            },
            Shape::List(texts) if self == Self::Texts => {
                let mut texts = texts.iter();
                texts.try_fold(true, |all, text| {
                    Ok(all & Self::Text.fits(text, parameters)?)
                })
            }
            other => {
                let value = other.fill(&Arguments::new()).ok();
                Ok(value.is_some_and(|value| self.variant(&value).is_some()))
            }
        }
    }
}

impl Argument {
    fn variant(&self, arguments: &Arguments) -> Result<Variant<'static>, ActionError> {
        let value = self.value.fill(arguments)?;
        let variant = self.r#type.variant(&value);
        variant.ok_or_else(|| ActionError::Failed {
            why: "a value is not of the declared type".into(),
            said: value.to_string().into(),
        })
    }
}

impl Method {
    /// Checks names and types.
    ///
    /// # Errors
    /// The first problem found.
    pub(super) fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        let names = [
            (
                "destination",
                &self.destination,
                BusName::try_from(self.destination.as_str()).is_ok(),
            ),
            (
                "path",
                &self.path,
                ObjectPath::try_from(self.path.as_str()).is_ok(),
            ),
            (
                "interface",
                &self.interface,
                InterfaceName::try_from(self.interface.as_str()).is_ok(),
            ),
            (
                "member",
                &self.member,
                MemberName::try_from(self.member.as_str()).is_ok(),
            ),
        ];
        if let Some((key, name, _)) = names.iter().find(|(.., fits)| !fits) {
            let name = name.as_str();
            return Err(format!(
                "D-Bus takes {name:?} for no `{key}`; `busctl` lists those that there are"
            ));
        }
        for (number, Argument { r#type, value }) in (1..).zip(&self.arguments) {
            if !r#type.fits(value, parameters)? {
                return Err(format!(
                    "argument {number}: `value` is not always of this `type`"
                ));
            }
        }
        Ok(())
    }

    /// Calls the method and returns its reply as text.
    ///
    /// # Errors
    /// When the bus or the method fails.
    pub(super) async fn run(&self, job: Job<'_>) -> Result<String, ActionError> {
        let values = self.arguments.iter();
        let values = values.map(|argument| argument.variant(&job.call.arguments));
        let called = self.call(values.collect::<Result<_, _>>()?).await;
        let answer = called.map_err(|error| {
            let (why, said) = match error {
                zbus::Error::MethodError(name, said, _) => {
                    (name.to_string(), said.unwrap_or_default())
                }
                error => (error.to_string(), String::new()),
            };
            let said = self.output.keep(said.as_bytes()).into();
            ActionError::Failed { why, said }
        })?;
        Ok(self.output.keep(answer.as_bytes()))
    }

    async fn call(&self, arguments: Vec<Variant<'static>>) -> zbus::Result<String> {
        let connection = match self.bus {
            Which::System => Connection::system().await?,
            Which::Session => Connection::session().await?,
        };
        let (destination, path) = (Some(self.destination.as_str()), self.path.as_str());
        let (interface, member) = (Some(self.interface.as_str()), self.member.as_str());
        let called = if arguments.is_empty() {
            connection
                .call_method(destination, path, interface, member, &())
                .await
        } else {
            let body = arguments.into_iter();
            let body = body.fold(StructureBuilder::new(), StructureBuilder::append_field);
            let body = body.build()?;
            connection
                .call_method(destination, path, interface, member, &body)
                .await
        };
        answer(&called?)
    }
}

/// Most bytes of a reply that are unpacked: 256 KiB. Unpacked they are up to a hundred times as large.
const LONGEST: usize = 1 << 18;

/// The reply as text: strings as they are, other values in the notation of D-Bus tools.
fn answer(message: &zbus::Message) -> zbus::Result<String> {
    let body = message.body();
    if body.is_empty() {
        return Ok(String::new());
    }
    if body.len() > LONGEST {
        return Err(zbus::Error::Failure(format!(
            "it answered {} bytes; at most {LONGEST} are read",
            body.len()
        )));
    }
    let body: Structure<'_> = body.deserialize()?;
    let fields = body.fields().iter().map(|field| match field {
        Variant::Str(text) => text.to_string(),
        other => other.to_string(),
    });
    Ok(fields.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::testing::action;

    #[test]
    fn types_and_names_are_checked_when_the_catalogue_is_read() {
        let read = |arguments: &str, path: &str| {
            action(&format!(
                "action.method = {{ destination = \"org.a.B\", path = \"{path}\", interface = \"org.a.B\", \
                 member = \"Go\", arguments = [{arguments}] }}"
            ))
        };
        for arguments in [
            r#"{ type = "q", value = "{count}" }"#,
            r#"{ type = "n", value = "{angle}" }"#,
            r#"{ type = "d", value = "{angle}" }"#,
            r#"{ type = "s", value = "{way}" }, { type = "as", value = "{many}" }"#,
            r#"{ type = "s", value = "go {way} by {count}" }, { type = "b", value = true }"#,
            r#"{ type = "as", value = ["go", "{way}", "{word}"] }"#,
            "",
        ] {
            let accepted = read(arguments, "/a");
            assert!(accepted.is_ok(), "{arguments}: {accepted:?}");
        }
        for arguments in [
            // 300 does not fit a byte, and -90 no unsigned number.
            r#"{ type = "y", value = "{count}" }"#,
            r#"{ type = "u", value = "{angle}" }"#,
            r#"{ type = "s", value = "{count}" }"#,
            r#"{ type = "i", value = "x{count}" }"#,
            r#"{ type = "b", value = 1 }"#,
            r#"{ type = "h", value = 1 }"#,
            r#"{ type = "b", value = "{maybe}" }"#,
            r#"{ type = "s", value = "{colour}" }"#,
            r#"{ type = "as", value = ["{count}"] }"#,
            r#"{ type = "as", value = ["{colour}"] }"#,
            r#"{ type = "s", value = { a = "b" } }"#,
        ] {
            let refused = read(arguments, "/a").unwrap_err();
            assert!(!refused.contains("Argument"), "{arguments}: {refused}");
        }
        for (path, why) in [
            ("a", "for no `path`"),
            ("/a/{way}", "no parameter can be in it"),
        ] {
            let refused = read("", path).unwrap_err();
            assert!(refused.contains(why), "{path}: {refused}");
        }
    }
}
