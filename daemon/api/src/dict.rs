//! Plain structs to and from `a{sv}`.
//!
//! Statistics travel both as D-Bus dictionaries and as JSON lines. They are declared once, as plain
//! serde structs; this module converts them for the bus. The conversion goes through JSON, which is
//! exact for the types in such structs: unsigned integers, floats, booleans and strings.

use std::collections::HashMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use zbus::{OwnedVariant, Variant};

/// A D-Bus dictionary of named values, `a{sv}`.
pub type Dict = HashMap<String, OwnedVariant>;

/// Turns a flat struct into a D-Bus dictionary. Fields that are `None` are left out; unsigned
/// integers become `t`, other numbers `d`, booleans `b`, strings `s`.
#[must_use]
pub fn to_dict<T: Serialize>(value: &T) -> Dict {
    let Ok(Value::Object(fields)) = serde_json::to_value(value) else {
        return Dict::new();
    };
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, variant(value)?)))
        .collect()
}

/// Reads a flat struct back from a D-Bus dictionary. Unknown entries are ignored, so that an older
/// client understands a newer daemon.
///
/// # Errors
/// When an entry the struct needs is missing or has another type.
pub fn from_dict<T: DeserializeOwned>(dict: &Dict) -> Result<T, serde_json::Error> {
    let fields: Map<String, Value> = dict
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), json(value)?)))
        .collect();
    serde_json::from_value(Value::Object(fields))
}

fn variant(value: Value) -> Option<OwnedVariant> {
    let variant = match value {
        Value::Bool(flag) => Variant::from(flag),
        Value::Number(number) => match number.as_u64() {
            Some(unsigned) => Variant::from(unsigned),
            None => Variant::from(number.as_f64()?),
        },
        Value::String(text) => Variant::from(text),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    OwnedVariant::try_from(variant).ok()
}

fn json(value: &Variant<'_>) -> Option<Value> {
    match value {
        Variant::Bool(flag) => Some(Value::from(*flag)),
        Variant::U8(number) => Some(Value::from(*number)),
        Variant::U16(number) => Some(Value::from(*number)),
        Variant::U32(number) => Some(Value::from(*number)),
        Variant::U64(number) => Some(Value::from(*number)),
        Variant::I16(number) => Some(Value::from(*number)),
        Variant::I32(number) => Some(Value::from(*number)),
        Variant::I64(number) => Some(Value::from(*number)),
        Variant::F64(number) => Some(Value::from(*number)),
        Variant::Str(text) => Some(Value::from(text.as_str())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finish, Stats};

    #[test]
    fn statistics_survive_the_way_over_the_bus() {
        let stats = Stats {
            request: 7,
            prompt_tokens: 120,
            total_ms: 12.5,
            finish: Finish::Length,
            ..Stats::default()
        };
        assert_eq!(from_dict::<Stats>(&to_dict(&stats)).unwrap(), stats);
    }
}
