//! The source of a chat template, cut into tags, expressions and the text between them.

/// A part of a template's source. All parts together are the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Text, comments and what is between `raw` and `endraw`.
    Text(&'a str),
    /// `{{ … }}`.
    Expression(&'a str),
    /// `{% … %}`.
    Tag(&'a str),
}

impl<'a> Part<'a> {
    /// The part as it is written.
    pub(super) fn as_str(self) -> &'a str {
        match self {
            Self::Text(text) | Self::Expression(text) | Self::Tag(text) => text,
        }
    }

    /// The first word of a tag.
    pub(super) fn tag(self) -> Option<&'a str> {
        let Self::Tag(tag) = self else {
            return None;
        };
        let inside = tag[2..].trim_start_matches(['-', '+']).trim_start();
        let end = inside.find(|it: char| !is_in_word(it));
        Some(&inside[..end.unwrap_or(inside.len())])
    }
}

/// Whether names consist of such characters.
pub(super) fn is_in_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The parts of `source`. What is not closed is text.
pub(super) fn parts(source: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    // What is before `text` has been taken; the next opening is looked for from `from`.
    let (mut text, mut from) = (0, 0);
    while let Some(open) = opening(source, from) {
        let code = &source[open..];
        let Some(length) = length(code) else {
            break;
        };
        from = open + length;
        if code.starts_with("{#") {
            continue;
        }
        if text < open {
            parts.push(Part::Text(&source[text..open]));
        }
        text = from;
        let code = &code[..length];
        if code.starts_with("{{") {
            parts.push(Part::Expression(code));
            continue;
        }
        let tag = Part::Tag(code);
        parts.push(tag);
        if tag.tag() == Some("raw") {
            from = end_of_raw(source, from);
        }
    }
    if text < source.len() {
        parts.push(Part::Text(&source[text..]));
    }
    parts
}

/// Where the next `{{`, `{%` or `{#` is.
fn opening(source: &str, from: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    (from..bytes.len().saturating_sub(1))
        .find(|at| bytes[*at] == b'{' && matches!(bytes[at + 1], b'{' | b'%' | b'#'))
}

/// Where the tag `endraw` is, or the source ends.
fn end_of_raw(source: &str, from: usize) -> usize {
    let ends = source[from..].match_indices("{%").map(|(at, _)| from + at);
    let mut ends = ends.filter(|at| Part::Tag(&source[*at..]).tag() == Some("endraw"));
    ends.next().unwrap_or(source.len())
}

/// Length of the tag, expression or comment that `code` begins with; `None` if it is not closed. Closing marks in
/// strings and inside brackets do not count.
fn length(code: &str) -> Option<usize> {
    let close = match code.as_bytes()[1] {
        b'#' => return code.find("#}").map(|at| at + 2),
        b'{' => b"}}",
        _ => b"%}",
    };
    let bytes = code.as_bytes();
    let (mut at, mut depth, mut quote) = (2, 0_usize, None);
    while at < bytes.len() {
        let byte = bytes[at];
        match quote {
            Some(_) if byte == b'\\' => at += 1,
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if depth == 0 && bytes[at..].starts_with(close) => return Some(at + 2),
            None => match byte {
                b'"' | b'\'' => quote = Some(byte),
                b'{' | b'[' | b'(' => depth += 1,
                b'}' | b']' | b')' => depth = depth.saturating_sub(1),
                _ => {}
            },
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_cut_at_its_tags_and_nothing_is_lost() {
        let source = "a{# {% no %} #}b{%- if x == '%}' -%}{{ {'a': {'b': 1}} }}{% raw %}{{ no }}{% endraw %}c{% open";
        assert_eq!(
            parts(source),
            [
                Part::Text("a{# {% no %} #}b"),
                Part::Tag("{%- if x == '%}' -%}"),
                Part::Expression("{{ {'a': {'b': 1}} }}"),
                Part::Tag("{% raw %}"),
                Part::Text("{{ no }}"),
                Part::Tag("{% endraw %}"),
                Part::Text("c{% open"),
            ]
        );
        assert_eq!(Part::Tag("{%- if x -%}").tag(), Some("if"));
        for source in ["", "{", "{%", "{{", "{#", "{% raw %}", "{{ '", "é{{é}}"] {
            let all: String = parts(source).into_iter().map(Part::as_str).collect();
            assert_eq!(all, source);
        }
    }
}
