//! What a chat template needs of Jinja: filters and tests.
//!
//! minijinja notices an unknown one only when it is reached, which may be in the middle of a conversation. So they are
//! looked up when the template is loaded.

use minijinja::{Environment, context};

use super::source::{self, Part, is_in_word};

/// What the first filter or test is that `environment` lacks, and its line; `None` if there is none.
pub(super) fn missing(environment: &Environment<'_>, source: &str) -> Option<String> {
    let mut line = 1;
    for part in source::parts(source) {
        if let Part::Tag(code) | Part::Expression(code) = part {
            let unknown = needs(code).into_iter().find(|it| !it.is_in(environment));
            if let Some(Need { kind, name }) = unknown {
                return Some(format!("the {kind} `{name}` (line {line})"));
            }
        }
        line += part.as_str().matches('\n').count();
    }
    None
}

/// A filter or a test.
#[derive(Debug, PartialEq, Eq)]
struct Need<'a> {
    kind: &'static str,
    name: &'a str,
}

impl Need<'_> {
    fn is_in(&self, environment: &Environment<'_>) -> bool {
        // Jinja's own tests, each about a name.
        let test = match self.kind {
            "filter" => "name is filter",
            _ => "name is test",
        };
        let found = environment
            .compile_expression(test)
            .and_then(|test| test.eval(context! { name => self.name }));
        found.is_ok_and(|found| found.is_true())
    }
}

/// What a tag or an expression needs.
fn needs(code: &str) -> Vec<Need<'_>> {
    let words = words(code);
    let mut needs = Vec::new();
    for (nth, &word) in words.iter().enumerate() {
        let before = |many: usize| nth.checked_sub(many).map_or("", |at| words[at]);
        if !word.starts_with(is_in_word) || word.starts_with(|it: char| it.is_numeric()) {
            continue;
        }
        let is_negated = before(1) == "not" && before(2) == "is" && before(3) != ".";
        let kind = match before(1) {
            "|" => "filter",
            "filter" if before(2) == "%" || before(3) == "%" => "filter",
            "is" if before(2) != "." && word != "not" => "test",
            "not" if is_negated => "test",
            _ => continue,
        };
        needs.push(Need { kind, name: word });
    }
    needs
}

/// The words and signs of a tag or an expression, without its strings.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if matches!(first, '"' | '\'') {
            let string = string(rest);
            // A string is a value, so that what follows it is not taken for the name of something.
            words.push("");
            string
        } else {
            let end = rest.find(|it: char| !is_in_word(it));
            let length = match end {
                Some(0) => first.len_utf8(),
                Some(end) => end,
                None => rest.len(),
            };
            if !first.is_whitespace() {
                words.push(&rest[..length]);
            }
            length
        };
        rest = &rest[length..];
    }
    words
}

/// Length of the string that `code` begins with, its quotes included.
fn string(code: &str) -> usize {
    let quote = code.as_bytes()[0];
    let mut is_escaped = false;
    let end = code.bytes().skip(1).position(|byte| {
        let is_end = byte == quote && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(code.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_tests_are_found_and_nothing_else() {
        let named = |code: &'static str| {
            let needs = needs(code).into_iter();
            needs.map(|it| (it.kind, it.name)).collect::<Vec<_>>()
        };
        assert_eq!(
            named("{%- if x|a and y is not b or 'is c | d' is  e(f | g) -%}"),
            [
                ("filter", "a"),
                ("test", "b"),
                ("test", "e"),
                ("filter", "g")
            ]
        );
        assert_eq!(named("{%- filter h -%}"), [("filter", "h")]);
        assert!(named("{{ x.is.filter or x['|'] or not is_y }}").is_empty());
    }

    #[test]
    fn what_is_missing_is_named_with_its_line() {
        let environment = Environment::new();
        assert_eq!(
            missing(
                &environment,
                "{{ 'a' | upper }}{% if 1 is odd %}{% endif %}"
            ),
            None
        );
        assert_eq!(
            missing(&environment, "{{ 'a' }}\n\n{{ 'a' | shout }}").unwrap(),
            "the filter `shout` (line 3)"
        );
        assert_eq!(
            missing(&environment, "{% if 1 is prime %}{% endif %}").unwrap(),
            "the test `prime` (line 1)"
        );
    }
}
