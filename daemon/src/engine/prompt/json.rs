//! The filter `tojson` as transformers has it: `json.dumps` of Python.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::escape::Escape;
use super::float;

/// Maximum depth of lists in lists, less than half of what the engine's thread has stack for.
const DEEPEST: usize = 100;

/// Writes `value` as JSON. Options: `ensure_ascii`, `indent`, `separators`, `sort_keys`.
///
/// # Errors
/// When the value or an option is none that Python's `json.dumps` takes, or the template has no fuel left.
#[allow(
    clippy::needless_pass_by_value,
    reason = "minijinja hands options over like this"
)]
pub(super) fn tojson(
    state: &State,
    value: &Value,
    ensure_ascii: Option<bool>,
    options: Kwargs,
) -> Result<String, Error> {
    let is_ascii = match ensure_ascii {
        Some(is_ascii) => is_ascii,
        None => options
            .get::<Option<bool>>("ensure_ascii")?
            .unwrap_or(false),
    };
    let indent = indent(options.get("indent")?)?;
    let (item, key) = match options.get::<Option<Value>>("separators")? {
        Some(pair) => (part(&pair, 0)?, part(&pair, 1)?),
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let sorts = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let mut writer = Writer {
        state,
        out: String::new(),
        escape: if is_ascii {
            Escape::Foreign
        } else {
            Escape::Demanded
        },
        indent,
        item,
        key,
        sorts,
    };
    writer.value(value, 0)?;
    Ok(writer.out)
}

/// The white space of one level; `None`: everything is on one line.
fn indent(option: Option<Value>) -> Result<Option<String>, Error> {
    let Some(option) = option else {
        return Ok(None);
    };
    if let Some(text) = option.as_str() {
        return Ok(Some(text.to_owned()));
    }
    let spaces = i64::try_from(option)?.clamp(0, 64);
    Ok(Some(" ".repeat(usize::try_from(spaces).unwrap_or(0))))
}

fn part(separators: &Value, index: usize) -> Result<String, Error> {
    let part = separators.get_item_by_index(index)?;
    let part = part.as_str().map(str::to_owned);
    part.ok_or_else(|| invalid("separators are two strings"))
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("tojson: {}", why.into()),
    )
}

struct Writer<'a, 'template, 'env> {
    state: &'a State<'template, 'env>,
    out: String,
    escape: Escape,
    indent: Option<String>,
    item: String,
    key: String,
    sorts: bool,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        // The value that a template doubles again and again is small in memory and endless as text.
        self.state.consume_fuel(1)?;
        if depth > DEEPEST {
            return Err(invalid(format!(
                "lists are nested more than {DEEPEST} deep"
            )));
        }
        match value.kind() {
            ValueKind::Map => self.map(value, depth),
            // Lists that were added are iterables to minijinja.
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<_> = value.try_iter()?.collect();
                self.list(['[', ']'], &items, depth, |writer, item| {
                    writer.value(item, depth + 1)
                })
            }
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                let text = scalar(value)?;
                self.out.push_str(&text);
                Ok(())
            }
            kind => Err(invalid(format!("there is no JSON for {kind}"))),
        }
    }

    fn map(&mut self, map: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<_> = map.try_iter()?.collect();
        if self.sorts {
            keys.sort();
        }
        self.list(['{', '}'], &keys, depth, |writer, key| {
            match key.as_str() {
                Some(text) => writer.string(text)?,
                None => writer.string(&scalar(key)?)?,
            }
            writer.out.push_str(&writer.key);
            writer.value(&map.get_item(key)?, depth + 1)
        })
    }

    fn list(
        &mut self,
        [open, close]: [char; 2],
        items: &[Value],
        depth: usize,
        mut write: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        for (nth, item) in items.iter().enumerate() {
            if nth > 0 {
                self.out.push_str(&self.item);
            }
            self.line(depth + 1);
            write(self, item)?;
        }
        if !items.is_empty() {
            self.line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    /// A new line, where there are any.
    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            self.out.push_str(&indent.repeat(depth));
        }
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel(text.len() as u64 / 64)?;
        self.out.push('"');
        self.out.push_str(&self.escape.of_marked(text));
        self.out.push('"');
        Ok(())
    }
}

/// A value that is neither a text nor a list nor a map.
fn scalar(value: &Value) -> Result<String, Error> {
    Ok(match value.kind() {
        ValueKind::None => "null".into(),
        ValueKind::Bool => if value.is_true() { "true" } else { "false" }.into(),
        ValueKind::Number if value.is_integer() => value.to_string(),
        ValueKind::Number => match f64::try_from(value.clone())? {
            number if number.is_nan() => "NaN".into(),
            number if number.is_infinite() && number > 0.0 => "Infinity".into(),
            number if number.is_infinite() => "-Infinity".into(),
            number => float::written(number),
        },
        kind => return Err(invalid(format!("{kind} is no key"))),
    })
}
