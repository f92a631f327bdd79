//! Patterns of paths whose parts have names.
//!
//! `*` is any text within a name, `**` any text with slashes. `{word}` is like `*`, `{word/}` like `**`, and what it
//! matches can be used in templates: `en/{prompt}.wav` matches `en/hello.wav`, and makes `prompt {prompt}` into
//! `prompt hello`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// What the named parts of a pattern match.
pub type Parts = BTreeMap<String, String>;

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Gap { name: Option<String>, crosses: bool },
}

/// A pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['*', '{']) {
            let (before, gap) = rest.split_at(start);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            let (piece, after) = gap_of(gap).with_context(|| format!("in the pattern `{text}`"))?;
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
    }

    /// Compares a path with the pattern. Returns its named parts if it matches; gaps are as short as possible.
    pub fn parts(&self, path: &str) -> Option<Parts> {
        let mut parts = Parts::new();
        matches(&self.0, path, &mut parts).then_some(parts)
    }

    /// The folders before the first gap: all that matches is in there.
    pub fn base(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text.rsplit_once('/').map_or("", |(base, _)| base),
            _ => "",
        }
    }
}

/// The gap at the beginning of `text`, and the text after it.
fn gap_of(text: &str) -> Result<(Piece, &str)> {
    let gap = |name, crosses| Piece::Gap { name, crosses };
    if let Some(after) = text.strip_prefix("**") {
        return Ok((gap(None, true), after));
    }
    if let Some(after) = text.strip_prefix('*') {
        return Ok((gap(None, false), after));
    }
    let Some((name, after)) = text[1..].split_once('}') else {
        bail!("`{{` without `}}`");
    };
    Ok(match name.strip_suffix('/') {
        Some(name) => (gap(Some(name.into()), true), after),
        None => (gap(Some(name.into()), false), after),
    })
}

/// Whether `text` matches; if so, its named parts are added.
fn matches(pieces: &[Piece], text: &str, parts: &mut Parts) -> bool {
    let Some((piece, rest)) = pieces.split_first() else {
        return text.is_empty();
    };
    let (name, crosses) = match piece {
        Piece::Text(expected) => {
            return text
                .strip_prefix(expected.as_str())
                .is_some_and(|text| matches(rest, text, parts));
        }
        Piece::Gap { name, crosses } => (name, *crosses),
    };
    let ends = text.char_indices().map(|(end, _)| end).chain([text.len()]);
    for end in ends {
        let (filled, after) = text.split_at(end);
        if !crosses && filled.contains('/') {
            return false;
        }
        // A named part is never empty.
        if name.is_some() && filled.is_empty() {
            continue;
        }
        if matches(rest, after, parts) {
            if let Some(name) = name {
                parts.insert(name.clone(), filled.into());
            }
            return true;
        }
    }
    false
}

/// Puts the named parts into a template.
///
/// # Errors
/// When the template names another part.
pub fn fill(template: &str, parts: &Parts) -> Result<String> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .with_context(|| format!("`{{` without `}}` in `{template}`"))?;
        let part = parts
            .get(name)
            .with_context(|| format!("no pattern has the part `{name}` of `{template}`"))?;
        filled += before;
        filled += part;
        rest = after;
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        let parts = Pattern::parse(pattern).unwrap().parts(path)?;
        Some(parts.into_iter().collect())
    }

    fn named(name: &str, part: &str) -> (String, String) {
        (name.into(), part.into())
    }

    #[test]
    fn a_star_stays_within_a_name_and_two_cross_folders() {
        assert_eq!(parts("a/*.wav", "a/b.wav"), Some(vec![]));
        assert_eq!(parts("a/*.wav", "a/b/c.wav"), None);
        assert_eq!(parts("a/**.wav", "a/b/c.wav"), Some(vec![]));
        assert_eq!(parts("a/*.wav", "a/b.wav.txt"), None);
    }

    #[test]
    fn named_parts_are_what_they_match() {
        assert_eq!(
            parts(
                "stamps/{stamp/}_desc_{language}.ogg",
                "stamps/a/b_c_desc_pt_BR.ogg"
            ),
            Some(vec![named("language", "pt_BR"), named("stamp", "a/b_c")])
        );
        assert_eq!(parts("{language}/*.wav", "/a.wav"), None);
        assert_eq!(
            parts("é/{word}.wav", "é/ñandú.wav"),
            Some(vec![named("word", "ñandú")])
        );
    }

    #[test]
    fn a_template_is_filled_with_parts_that_exist() {
        let parts = Parts::from([named("language", "fr")]);
        assert_eq!(fill("speaker {language}!", &parts).unwrap(), "speaker fr!");
        assert!(fill("{voice}", &parts).is_err());
        assert!(fill("{language", &parts).is_err());
    }

    #[test]
    fn the_base_is_the_folders_that_have_no_gap() {
        let base = |pattern| Pattern::parse(pattern).unwrap().base().to_owned();
        assert_eq!(base("usr/share/a/**.wav"), "usr/share/a");
        assert_eq!(base("usr/share/pre*.wav"), "usr/share");
        assert_eq!(base("**.wav"), "");
    }

    #[test]
    fn a_part_that_does_not_end_is_an_error() {
        assert!(Pattern::parse("a/{word.wav").is_err());
    }
}
