//! Commands as the chat template declares them: tools in `OpenAI`'s JSON shape, which templates expect.

use serde_json::{Map, Value, json};

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
            "parameters": command.schema_of(property),
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

/// A parameter for the model: a JSON Schema without the default and the range.
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
            level = { type = "integer", min = 0, max = 100, description = "In percent." }
            rooms = { type = "list", values = ["kitchen", "office"], required = false }
            mood = { type = "enum", values = ["warm", "cold"], default = "warm" }
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
                        "level": {"type": "integer", "description": "In percent."},
                        "rooms": {"type": "array", "items": {"type": "string", "enum": ["kitchen", "office"]}},
                        "mood": {"type": "string", "enum": ["warm", "cold"]},
                    },
                    "required": ["level"],
                },
            }})]
        );
    }
}
