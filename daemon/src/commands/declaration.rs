//! Commands as the chat template declares them: tools in `OpenAI`'s JSON shape, which templates expect.
//!
//! Of a parameter, Gemma 4's published templates write the description, the type and the values of an enum, and drop
//! everything else. So the range, the step, the unit and the default are told in the description.

use serde_json::{Map, Value, json};

use super::parameter::{LONGEST, MOST};
use super::{Catalogue, Command, Kind, Name, Need, Parameter, Plain};

impl Catalogue {
    /// The declarations of all commands, sorted by name, so that the same catalogue gives the same prompt.
    #[must_use]
    pub fn declarations(&self) -> Vec<Value> {
        let commands = self.commands.iter();
        commands
            .map(|(name, command)| declaration(name, command))
            .collect()
    }
}

fn declaration(name: &Name, command: &Command) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": name.as_str(),
            "description": command.description.as_str(),
            "parameters": command.schema_of(told),
        },
    })
}

impl Command {
    /// Its parameters for clients: a JSON Schema with defaults.
    #[must_use]
    pub fn schema(&self) -> Value {
        self.schema_of(|parameter| {
            let mut property = property(parameter);
            if let Need::Default(default) = &parameter.need {
                property.insert("default".into(), default.clone());
            }
            property
        })
    }

    fn schema_of(&self, property: impl Fn(&Parameter) -> Map<String, Value>) -> Value {
        let parameters = self.parameters.iter();
        let properties: Map<_, _> = parameters
            .map(|(name, parameter)| (name.to_string(), Value::Object(property(parameter))))
            .collect();
        let parameters = self.parameters.iter();
        let required: Vec<_> = parameters
            .filter(|(_, parameter)| parameter.is_required())
            .map(|(name, _)| name.as_str())
            .collect();
        json!({"type": "object", "properties": properties, "required": required})
    }
}

/// A parameter for the model: its description tells what a template drops.
fn told(parameter: &Parameter) -> Map<String, Value> {
    let mut property = property(parameter);
    let description = parameter.description.as_ref().map(Plain::as_str);
    let sentences = [
        description.map(sentence),
        range(parameter),
        default(parameter),
    ];
    let sentences: Vec<_> = sentences.into_iter().flatten().collect();
    if !sentences.is_empty() {
        property.insert("description".into(), sentences.join(" ").into());
    }
    property
}

/// A text with a full stop, unless it ends with another sign.
fn sentence(text: &str) -> String {
    let stop = if text.ends_with(char::is_alphanumeric) {
        "."
    } else {
        ""
    };
    format!("{text}{stop}")
}

/// Which values fit, where neither the type nor a list of values says it.
fn range(parameter: &Parameter) -> Option<String> {
    let unit = parameter.unit.as_ref();
    let unit = unit.map_or_else(String::new, |unit| format!(" {}", unit.as_str()));
    match &parameter.kind {
        Kind::Integer { min, max, step: 1 } => Some(format!("{min} to {max}{unit}.")),
        Kind::Integer { min, max, step } => {
            Some(format!("{min} to {max}{unit}, a multiple of {step}."))
        }
        Kind::Number {
            min,
            max,
            step: None,
        } => Some(format!("{min} to {max}{unit}.")),
        Kind::Number {
            min,
            max,
            step: Some(step),
        } => Some(format!("{min} to {max}{unit}, a multiple of {step}.")),
        Kind::String { longest } if *longest != LONGEST.get() => {
            Some(format!("At most {longest} characters."))
        }
        Kind::List { most, .. } if *most != MOST.get() => Some(format!("At most {most} items.")),
        Kind::String { .. } | Kind::List { .. } | Kind::Enum(_) | Kind::Boolean => None,
    }
}

/// The value if none is given.
fn default(parameter: &Parameter) -> Option<String> {
    let Need::Default(default) = &parameter.need else {
        return None;
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let default = match default {
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        value => text(value),
    };
    Some(format!("Default: {default}."))
}

/// A parameter for clients: a JSON Schema without the default and the range.
fn property(parameter: &Parameter) -> Map<String, Value> {
    let mut property = Map::new();
    let kind = match &parameter.kind {
        Kind::Enum(values) => {
            property.insert("enum".into(), texts(values));
            "string"
        }
        Kind::String { .. } => "string",
        Kind::Integer { .. } => "integer",
        Kind::Number { .. } => "number",
        Kind::Boolean => "boolean",
        Kind::List { values, .. } => {
            let mut items = json!({"type": "string"});
            if !values.is_empty() {
                items["enum"] = texts(values);
            }
            property.insert("items".into(), items);
            "array"
        }
    };
    property.insert("type".into(), kind.into());
    if let Some(description) = &parameter.description {
        property.insert("description".into(), description.as_str().into());
    }
    property
}

fn texts(values: &[Plain]) -> Value {
    values.iter().map(Plain::as_str).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_command_is_declared_with_its_types_and_what_it_cannot_do_without() {
        let text = r#"
            [commands.dim]
            description = "Dim lights."
            [commands.dim.parameters]
            level = { type = "integer", min = 0, max = 100, step = 5, unit = "percent", description = "How bright" }
            rooms = { type = "list", values = ["kitchen", "office"], most = 2, required = false }
            mood = { type = "enum", values = ["warm", "cold"], default = "warm", description = "The colour." }
            fade = { type = "number", min = 0.5, max = 2, default = 1.5 }
            name = { type = "string", longest = 20, required = false }
            gently = { type = "boolean", required = false }
        "#;
        let catalogue = Catalogue::parse(Path::new("x.toml"), text).unwrap();
        assert_eq!(
            catalogue.declarations(),
            [json!({"type": "function", "function": {
                "name": "dim",
                "description": "Dim lights.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "level": {"type": "integer", "description": "How bright. 0 to 100 percent, a multiple of 5."},
                        "rooms": {
                            "type": "array", "items": {"type": "string", "enum": ["kitchen", "office"]},
                            "description": "At most 2 items.",
                        },
                        "mood": {
                            "type": "string", "enum": ["warm", "cold"], "description": "The colour. Default: warm.",
                        },
                        "fade": {"type": "number", "description": "0.5 to 2. Default: 1.5."},
                        "name": {"type": "string", "description": "At most 20 characters."},
                        "gently": {"type": "boolean"},
                    },
                    "required": ["level"],
                },
            }})]
        );
    }
}
