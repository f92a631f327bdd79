//! Checks of a JSON Schema before it is compiled, so that each fault is reported with its place.
//!
//! The compiler (llguidance) reports only that something is wrong, in words for programmers who use it. Faults found
//! here never reach it; those it finds beyond them are reported in our words ([`explain`]).

use std::collections::HashSet;

use gemmad_text as text;
use serde_json::{Map, Value};

use crate::engine::bounds::LONGEST_SCHEMA;

/// Why no answer can be constrained by a JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It exceeds the maximum length, and was not read.
    #[error(
        "the schema has {bytes} bytes, but at most {LONGEST_SCHEMA} are read; shorten it, or write once under $defs \
         what it repeats"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is no JSON.
    #[error("the schema is no JSON: {0}")]
    NotJson(String),
    /// A keyword in it is wrong or cannot be followed.
    #[error("the schema cannot be followed: {keyword} at {place} {reason}")]
    Keyword {
        /// The keyword.
        keyword: String,
        /// The place of the schema that has it: a JSON Pointer, as a URI fragment.
        place: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// It contradicts itself, so no JSON fits it.
    #[error("no JSON fits the schema: its keywords contradict each other; loosen or remove one")]
    Nothing,
    /// The compiler gave up, or the answer led to too many possibilities.
    #[error(
        "the schema is too complex; simplify it: fewer alternatives, shorter patterns and lists, less nesting"
    )]
    TooComplex,
}

/// Reads a schema that a client wrote.
///
/// # Errors
/// When it is too long, or no JSON.
pub(super) fn read(text: &str) -> Result<Value, SchemaError> {
    if text.len() > LONGEST_SCHEMA {
        return Err(SchemaError::TooLong { bytes: text.len() });
    }
    // Some editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text).map_err(|error| SchemaError::NotJson(error.to_string()))
}

/// Keywords that restrict values in ways that no grammar can follow.
const BEYOND: [&str; 18] = [
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];

/// Formats that the compiler knows.
pub(super) const FORMATS: [&str; 10] = [
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
    "uri",
];

/// Types of JSON.
const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];

/// Pairs of keywords of which the first must not be more than the second.
const BOUNDS: [(&str, &str); 4] = [
    ("minimum", "maximum"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
];

/// Maximum count (of characters, items, properties) that a schema may name. No answer gets that far.
const LARGEST_COUNT: u64 = 1 << 16;

/// Maximum length of a place or a reason in a message, in characters.
const LONGEST_SHOWN: usize = 300;

/// A schema within the whole, and where it is.
struct Part<'a> {
    value: &'a Value,
    place: String,
}

/// Checks every schema that the root uses.
///
/// # Errors
/// The first fault, with its place.
pub(super) fn check(root: &Value) -> Result<(), SchemaError> {
    for part in parts(root)? {
        part.check()?;
    }
    Ok(())
}

/// The schemas that the root uses, itself first, each once.
fn parts(root: &Value) -> Result<Vec<Part<'_>>, SchemaError> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut ahead = vec![Part {
        value: root,
        place: "#".into(),
    }];
    while let Some(part) = ahead.pop() {
        if seen.insert(part.place.clone()) {
            ahead.extend(part.inner(root)?);
            found.push(part);
        }
    }
    Ok(found)
}

impl<'a> Part<'a> {
    fn fault(&self, keyword: &str, reason: impl Into<String>) -> SchemaError {
        // A client chose the names in it, and what a reason quotes.
        let shown = |text: &str| text::line(text, LONGEST_SHOWN).into_owned();
        SchemaError::Keyword {
            keyword: shown(keyword),
            place: shown(&self.place),
            reason: shown(&reason.into()),
        }
    }

    /// Its keywords. `None` for the schemas `true` and `false`, which the root must not be.
    fn keywords(&self) -> Result<Option<&'a Map<String, Value>>, SchemaError> {
        match self.value {
            Value::Object(keywords) => Ok(Some(keywords)),
            Value::Bool(_) if self.place != "#" => Ok(None),
            _ => Err(self.fault("the schema", "has to be an object; write {…}")),
        }
    }

    /// The schemas it consists of and refers to.
    fn inner(&self, root: &'a Value) -> Result<Vec<Part<'a>>, SchemaError> {
        let mut inner = Vec::new();
        let Some(keywords) = self.keywords()? else {
            return Ok(inner);
        };
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("$ref", value) => inner.push(self.referred(value, root)?),
                ("properties" | "patternProperties", Value::Object(schemas)) => {
                    inner.extend(
                        schemas
                            .iter()
                            .map(|(name, value)| self.part(keyword, name, value)),
                    );
                }
                ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                    let schemas = schemas.iter().enumerate();
                    inner.extend(schemas.map(|(nth, it)| self.part(keyword, &nth.to_string(), it)));
                }
                ("items" | "additionalItems" | "additionalProperties", value) => inner.push(Part {
                    value,
                    place: format!("{}/{keyword}", self.place),
                }),
                ("properties" | "patternProperties", _) => {
                    return Err(self.fault(keyword, "has to be an object of schemas"));
                }
                ("allOf" | "anyOf" | "oneOf" | "prefixItems", _) => {
                    return Err(self.fault(keyword, "has to be a list of schemas"));
                }
                _ => {}
            }
        }
        Ok(inner)
    }

    fn part(&self, keyword: &str, name: &str, value: &'a Value) -> Part<'a> {
        // The escapes of RFC 6901, section 3.
        let name = name.replace('~', "~0").replace('/', "~1");
        Part {
            value,
            place: format!("{}/{keyword}/{name}", self.place),
        }
    }

    /// The schema that a `$ref` names, as the compiler finds it: by names between slashes, without escapes.
    fn referred(&self, reference: &Value, root: &'a Value) -> Result<Part<'a>, SchemaError> {
        let unknown = |reason: &str| self.fault("$ref", reason);
        let Some(reference) = reference.as_str() else {
            return Err(unknown("has to be text, such as \"#/$defs/name\""));
        };
        if reference == "#" || reference == "#/" {
            return Ok(Part {
                value: root,
                place: "#".into(),
            });
        }
        let Some(path) = reference.strip_prefix("#/") else {
            return Err(unknown(
                "leads out of the schema; copy what it names to $defs and refer to \"#/$defs/name\"",
            ));
        };
        let mut value = root;
        for name in path.split('/') {
            let next = match value {
                Value::Array(items) => name.parse().ok().and_then(|nth: usize| items.get(nth)),
                other => other.get(name),
            };
            value = next.ok_or_else(|| {
                unknown("names a place that is not there (names with / or ~ cannot be referred to)")
            })?;
        }
        Ok(Part {
            value,
            place: reference.to_owned(),
        })
    }

    fn check(&self) -> Result<(), SchemaError> {
        let Some(keywords) = self.keywords()? else {
            return Ok(());
        };
        for (keyword, value) in keywords {
            if BEYOND.contains(&keyword.as_str()) {
                return Err(self.fault(
                    keyword,
                    "is more than an answer can be held to; leave it out",
                ));
            }
            self.check_value(keyword, value)?;
        }
        for (least, most) in BOUNDS {
            let number = |keyword| keywords.get(keyword).and_then(Value::as_f64);
            if let (Some(low), Some(high)) = (number(least), number(most))
                && low > high
            {
                return Err(self.fault(
                    least,
                    format!("is {low}, more than {most}, which is {high}"),
                ));
            }
        }
        Ok(())
    }

    fn check_value(&self, keyword: &str, value: &Value) -> Result<(), SchemaError> {
        let wrong = |reason: &str| Err(self.fault(keyword, reason));
        match keyword {
            "type" => {
                let is_type = |it: &Value| it.as_str().is_some_and(|it| TYPES.contains(&it));
                let is_known = match value {
                    Value::Array(types) => !types.is_empty() && types.iter().all(is_type),
                    value => is_type(value),
                };
                if !is_known {
                    let types = TYPES.join(", ");
                    return wrong(&format!(
                        "is none of JSON's types; use one or a list of {types}"
                    ));
                }
            }
            "enum" if value.as_array().is_none_or(Vec::is_empty) => {
                return wrong("has to be a list of at least one value");
            }
            "required" => {
                let names = value.as_array();
                if !names.is_some_and(|names| names.iter().all(Value::is_string)) {
                    return wrong("has to be a list of names");
                }
            }
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties"
            | "maxProperties" => {
                let Some(count) = value.as_u64() else {
                    return wrong("has to be a whole number from 0");
                };
                if count > LARGEST_COUNT {
                    return wrong(&format!(
                        "is more than {LARGEST_COUNT}; no answer gets that far: leave it out"
                    ));
                }
            }
            "minimum" | "maximum" if !value.is_number() => return wrong("has to be a number"),
            // Draft 4 has a boolean here.
            "exclusiveMinimum" | "exclusiveMaximum"
                if !value.is_number() && !value.is_boolean() =>
            {
                return wrong("has to be a number");
            }
            "multipleOf" if !value.as_f64().is_some_and(|number| number > 0.0) => {
                return wrong("has to be a number above 0");
            }
            "pattern" => match value.as_str() {
                None => return wrong("has to be text"),
                Some(pattern) => self.check_pattern(keyword, pattern)?,
            },
            "patternProperties" => {
                for pattern in value.as_object().into_iter().flat_map(Map::keys) {
                    self.check_pattern(keyword, pattern)?;
                }
            }
            "format" if !value.as_str().is_some_and(|it| FORMATS.contains(&it)) => {
                let formats = FORMATS.join(", ");
                return wrong(&format!("is unknown; use pattern, or one of {formats}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn check_pattern(&self, keyword: &str, pattern: &str) -> Result<(), SchemaError> {
        use regex_syntax::Error;
        let (reason, at) = match regex_syntax::parse(pattern) {
            Ok(_) => return Ok(()),
            Err(Error::Parse(error)) => (error.kind().to_string(), error.span().start.offset),
            Err(Error::Translate(error)) => (error.kind().to_string(), error.span().start.offset),
            Err(_) => ("it is no regular expression".into(), 0),
        };
        let before = pattern.get(..at).unwrap_or_default().chars().count();
        let reason = format!(
            "is wrong at character {}: {reason}; correct the expression",
            before + 1
        );
        Err(self.fault(keyword, reason))
    }
}

/// The compiler's findings about keywords that have passed [`check`]: a part of its message, the keyword it is about,
/// and the reason to report.
const FINDINGS: [(&str, &str, &str); 7] = [
    (
        "oneOf",
        "oneOf",
        "has options of which more than one may fit; use anyOf, or give each option a required property with a const \
         of its own",
    ),
    (
        "patternProperty",
        "patternProperties",
        "has patterns that may fit the same name; make them differ in their first characters",
    ),
    (
        "circular",
        "$ref",
        "comes back to itself with other keywords beside it; move those into what it refers to",
    ),
    (
        "min/maxProperties",
        "minProperties",
        "counts properties that are not required; require them, or leave it out",
    ),
    (
        "min/maxProperties",
        "maxProperties",
        "counts properties that are not required; require them, or leave it out",
    ),
    (
        "egex",
        "pattern",
        "is more than an answer can be held to; use a simpler expression, without look-around and back-references",
    ),
    (
        "multipleOf",
        "multipleOf",
        "is no number an answer can be held to; leave it out",
    ),
];

/// The compiler's `finding` about a schema that has passed [`check`], as an error for the client.
pub(super) fn explain(root: &Value, finding: &str) -> SchemaError {
    let parts = parts(root).unwrap_or_default();
    for (words, keyword, reason) in FINDINGS {
        if finding.contains(words)
            && let Some(part) = parts.iter().find(|part| part.value.get(keyword).is_some())
        {
            return part.fault(keyword, reason);
        }
    }
    let is_empty = ["Unsatisfiable", "unsatisfiable", "NoExtension"];
    if is_empty.iter().any(|words| finding.contains(words)) {
        return SchemaError::Nothing;
    }
    SchemaError::TooComplex
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(schema: &Value) -> String {
        check(schema).unwrap_err().to_string()
    }

    #[test]
    fn a_fault_in_a_place_with_hostile_names_is_told_on_one_line() {
        let name = format!("^\n\u{202E}[{}", "a".repeat(10_000));
        let told = refused(&json!({"patternProperties": {name: {"pattern": "(?=x)"}}}));
        assert!(
            !told.contains(|it: char| it.is_control() || it == '\u{202E}'),
            "{told}"
        );
        assert!(told.len() < 1000, "{told}");
    }

    #[test]
    fn a_fault_is_told_with_its_keyword_its_place_and_what_to_do() {
        let cases = [
            (
                json!({"properties": {"a": {"items": {"uniqueItems": true}}}}),
                "uniqueItems at #/properties/a/items is more than an answer can be held to; leave it out",
            ),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "colour"}]}),
                "type at #/anyOf/1 is none of JSON's types; use one or a list of null, boolean, integer, number, \
                 string, array, object",
            ),
            (
                json!({"properties": {"a/b~c": {"pattern": "(?x:\n ab(c"}}}),
                "pattern at #/properties/a~1b~0c is wrong at character 9: unclosed group; correct the expression",
            ),
            (
                json!({"pattern": "ä(?=b)"}),
                "pattern at # is wrong at character 2: look-around, including look-ahead and look-behind, is not \
                 supported; correct the expression",
            ),
            (
                json!({"patternProperties": {"[": {}}}),
                "patternProperties at # is wrong at character 1: unclosed character class; correct the expression",
            ),
            (
                json!({"properties": {"a": {"minimum": 5, "maximum": 4}}}),
                "minimum at #/properties/a is 5, more than maximum, which is 4",
            ),
            (
                json!({"items": {"minLength": -1}}),
                "minLength at #/items has to be a whole number from 0",
            ),
            (
                json!({"format": "colour"}),
                "format at # is unknown; use pattern, or one of date-time, date, time, duration, email, hostname, \
                 ipv4, ipv6, uuid, uri",
            ),
        ];
        for (schema, expected) in cases {
            let told = refused(&schema);
            assert_eq!(told, format!("the schema cannot be followed: {expected}"));
        }
    }

    #[test]
    fn references_are_followed_within_the_schema_and_only_there() {
        let within = json!({
            "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}, "unused": {"not": {}}},
            "$ref": "#/$defs/node",
        });
        assert_eq!(check(&within), Ok(()));
        let inside =
            json!({"$defs": {"a": {"items": {"not": {}}}}, "items": {"$ref": "#/$defs/a"}});
        assert!(
            refused(&inside).contains("not at #/$defs/a/items"),
            "{}",
            refused(&inside)
        );
        for wrong in [
            "#/$defs/none",
            "#/$defs/a/x",
            "https://example.org/schema.json",
            "other.json#/a",
        ] {
            let told = refused(&json!({"$defs": {"a": {}}, "items": {"$ref": wrong}}));
            assert!(told.contains("$ref at #/items"), "{told}");
        }
    }

    #[test]
    fn keywords_with_the_wrong_kind_of_value_are_refused() {
        for schema in [
            json!([]),
            json!(true),
            json!({"properties": []}),
            json!({"properties": {"a": 1}}),
            json!({"anyOf": {}}),
            json!({"enum": []}),
            json!({"required": "a"}),
            json!({"type": []}),
            json!({"minimum": "1"}),
            json!({"exclusiveMaximum": null}),
            json!({"multipleOf": 0}),
            json!({"maxItems": 1e3}),
            json!({"maxLength": 1u64 << 40}),
            json!({"pattern": 5}),
            json!({"$ref": 5}),
        ] {
            let told = refused(&schema);
            assert!(told.contains(" at #"), "{schema}: {told}");
        }
    }

    #[test]
    fn a_text_is_measured_before_it_is_read_and_may_begin_with_a_mark() {
        assert_eq!(read("\u{feff}{\"a\": 1}").unwrap(), json!({"a": 1}));
        let long = format!("{{\"description\": \"{}\"}}", "x".repeat(LONGEST_SCHEMA));
        assert!(matches!(read(&long), Err(SchemaError::TooLong { .. })));
        for text in ["", "{", "{\"a\": }", &"[".repeat(1000)] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.contains(" at line 1 column "), "{told}");
        }
    }

    #[test]
    fn what_the_compiler_finds_is_told_in_our_words() {
        let schema = json!({"properties": {"a": {"oneOf": [{}, {}]}}});
        let told = explain(
            &schema,
            "oneOf constraints are not supported. Enable 'coerce_one_of' option",
        );
        assert!(
            told.to_string()
                .contains("oneOf at #/properties/a has options"),
            "{told}"
        );
        let told = explain(&schema, "panic: end byte index 100 is not a char boundary");
        assert_eq!(told, SchemaError::TooComplex);
        let told = explain(&schema, "NoExtensionBias\n<state>");
        assert_eq!(told, SchemaError::Nothing);
    }
}
