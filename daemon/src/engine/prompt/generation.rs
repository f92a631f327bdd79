//! The tag `generation` of transformers.
//!
//! It surrounds what the model wrote, so that a trainer can find that again, and changes nothing in the prompt. For
//! Jinja it is a scope of its own, as `with` is, which minijinja knows.

use super::source;

/// `source` with the tag `with` instead of `generation`.
pub(super) fn replaced(source: &str) -> String {
    let parts = source::parts(source).into_iter();
    let replaced = parts.map(|part| match part.tag() {
        Some("generation") => part.as_str().replacen("generation", "with", 1),
        Some("endgeneration") => part.as_str().replacen("endgeneration", "endwith", 1),
        _ => part.as_str().to_owned(),
    });
    replaced.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_is_replaced() {
        assert_eq!(
            replaced(
                "{%- generation -%}{{ 'generation' }}{% endgeneration %}{# {% generation %} #}"
            ),
            "{%- with -%}{{ 'generation' }}{% endwith %}{# {% generation %} #}"
        );
    }
}
