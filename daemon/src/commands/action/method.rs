//! An action that calls a method on D-Bus, with the types that are declared.
//!
//! Each call has a connection of its own: it costs a millisecond, and a bus that was restarted is nobody's trouble.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use zbus::names::{BusName, InterfaceName, MemberName};
use zbus::wire::StructureBuilder;
use zbus::{Connection, ObjectPath, Structure, Variant};

use super::text::{Text, always};
use super::{ActionError, Job, Output, Timeout};
use crate::commands::{Arguments, Kind, Name, Parameter};

/// A method to call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    #[serde(default)]
    bus: Which,
    destination: String,
    path: String,
    interface: String,
    member: String,
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

/// A value of this type. A text may have parameters in it; a parameter alone has its own type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    r#type: Type,
    value: Given,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Given {
    Text(Text),
    Boolean(bool),
    Integer(i64),
    Number(f64),
}

/// The types of D-Bus, by its own letters.
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
    /// `value` as this type, if it is one.
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
}

impl Argument {
    fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        let fits = match &self.value {
            Given::Text(text) => match text.whole() {
                Some(name) => self.r#type.takes(&always(name, parameters)?.kind),
                None => self.r#type == Type::Text && text.check(parameters).map(|()| true)?,
            },
            _ => self.variant(&Arguments::new()).is_some(),
        };
        if fits {
            Ok(())
        } else {
            Err(format!(
                "`value` does not always fit the `type` of {self:?}"
            ))
        }
    }

    fn variant(&self, arguments: &Arguments) -> Option<Variant<'static>> {
        let value = match &self.value {
            Given::Text(text) => match text.whole() {
                Some(name) => arguments.get(name.as_str())?.clone(),
                None => text.fill(arguments).into(),
            },
            Given::Boolean(value) => (*value).into(),
            Given::Integer(value) => (*value).into(),
            Given::Number(value) => (*value).into(),
        };
        self.r#type.variant(&value)
    }
}

impl Method {
    /// Checks names and types.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self, parameters: &BTreeMap<Name, Parameter>) -> Result<(), String> {
        let named = |error: &zbus::Error| error.to_string();
        BusName::try_from(self.destination.as_str()).map_err(|error| named(&error))?;
        ObjectPath::try_from(self.path.as_str()).map_err(|error| named(&error))?;
        InterfaceName::try_from(self.interface.as_str()).map_err(|error| named(&error))?;
        MemberName::try_from(self.member.as_str()).map_err(|error| named(&error))?;
        let mut arguments = self.arguments.iter();
        arguments.try_for_each(|argument| argument.check(parameters))
    }

    /// Calls it and returns what it answers.
    ///
    /// # Errors
    /// When the bus or the method fails.
    pub(super) async fn run(&self, job: Job<'_>) -> Result<String, ActionError> {
        let called = self.call(&job.call.arguments).await;
        let answer = called.map_err(|error| {
            ActionError::Failed(match error {
                zbus::Error::MethodError(name, Some(why), _) => format!("{name}: {why}"),
                error => error.to_string(),
            })
        })?;
        Ok(self.output.keep(answer.as_bytes()))
    }

    async fn call(&self, arguments: &Arguments) -> zbus::Result<String> {
        let connection = match self.bus {
            Which::System => Connection::system().await?,
            Which::Session => Connection::session().await?,
        };
        let (destination, path) = (Some(self.destination.as_str()), self.path.as_str());
        let (interface, member) = (Some(self.interface.as_str()), self.member.as_str());
        let values = self.arguments.iter();
        // What does not fit was refused when the catalogue was read.
        let values = values.filter_map(|argument| argument.variant(arguments));
        let body = values.fold(StructureBuilder::new(), StructureBuilder::append_field);
        let called = if self.arguments.is_empty() {
            connection
                .call_method(destination, path, interface, member, &())
                .await
        } else {
            let body = body.build()?;
            connection
                .call_method(destination, path, interface, member, &body)
                .await
        };
        answer(&called?)
    }
}

/// What a method answered, as text: texts as they are, anything else as D-Bus tools write it.
fn answer(message: &zbus::Message) -> zbus::Result<String> {
    let body = message.body();
    if body.is_empty() {
        return Ok(String::new());
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
        ] {
            assert!(read(arguments, "/a").is_err(), "{arguments}");
        }
        assert!(read("", "a").is_err());
    }
}
