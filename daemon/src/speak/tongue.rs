//! The language of a text that is spoken, and the voice for it.
//!
//! A reply is written in the language of the question, which may be another one than that of the configured voice. So the
//! language of each sentence is detected, and a sentence in another language gets a voice that speaks it, if there is
//! one.

use std::path::Path;

use whichlang::{Lang, detect_language};

use super::error::SpeechError;
use super::language;
use super::manner::Manner;
use super::synthesiser::Synthesiser;
use crate::config;
use crate::platform::environment::Environment;

/// Fewest bytes of letters by which a language is told: names and exclamations are alike in many. Of the transcripts of
/// the corpus in ten of these languages (docs/corpus.md, without the held-out ones), 9 of 1,393 with that many were taken
/// for another language; of those with 16 to 19 bytes, 7 of 136.
const FEWEST: usize = 20;

/// A program whose voices have the codes of their languages as names.
const SPEAKS_MANY: &str = "espeak-ng";

/// A language and the synthesiser that speaks it.
#[derive(Debug)]
pub struct Tongue {
    /// Its tag, in lower case; see [`language::of`].
    pub language: String,
    /// Its synthesiser.
    pub synthesiser: Result<Synthesiser, SpeechError>,
}

impl Tongue {
    fn new(config: &config::Speech, voice: &str, environment: &Environment) -> Self {
        let language = language::of(voice, &config.language);
        // The program is told the language of the voice too.
        let config = &config::Speech {
            language: language.clone(),
            ..config.clone()
        };
        Self {
            synthesiser: Synthesiser::new(config, voice, environment),
            language,
        }
    }
}

/// The tongues of one text.
#[derive(Debug)]
pub struct Tongues {
    config: config::Speech,
    environment: Environment,
    /// Whether other voices may be chosen: not if the voice was named for this text.
    is_free: bool,
    usual: Tongue,
    /// The one of the last sentence, if it was another.
    other: Option<Tongue>,
}

impl Tongues {
    /// Those of a text to be spoken in this manner.
    pub fn new(config: &config::Speech, manner: &Manner, environment: &Environment) -> Self {
        let voice = manner.voice.as_ref().unwrap_or(&config.voice);
        Self {
            usual: Tongue::new(config, voice, environment),
            other: None,
            is_free: manner.voice.is_none(),
            config: config.clone(),
            environment: environment.clone(),
        }
    }

    /// The tongue of the last sentence.
    pub fn current(&self) -> &Tongue {
        self.other.as_ref().unwrap_or(&self.usual)
    }

    /// Chooses the tongue for `sentence`. A short one gets that of the sentence before.
    pub fn follow(&mut self, sentence: &str) {
        let Some(code) = self.is_free.then(|| detected(sentence)).flatten() else {
            return;
        };
        if code == language::code(&self.current().language) {
            return;
        }
        let is_usual = code == language::code(&self.usual.language);
        let voice = voice(&self.config, code).filter(|_| !is_usual);
        self.other = voice.map(|voice| {
            let config = config::Speech {
                language: code.into(),
                ..self.config.clone()
            };
            Tongue::new(&config, &voice, &self.environment)
        });
    }
}

/// The voice for the language with this code, if there is one.
fn voice(config: &config::Speech, code: &str) -> Option<String> {
    if let Some(voices) = &config.voices {
        return voices.get(code).cloned();
    }
    let program = Path::new(config.command.first()?).file_name()?;
    (program == SPEAKS_MANY).then(|| code.to_owned())
}

/// The code of the language that `text` is written in; `None` for too few letters.
fn detected(text: &str) -> Option<&'static str> {
    let letters = text.chars().filter(|it| it.is_alphabetic());
    let bytes: usize = letters.map(char::len_utf8).sum();
    (bytes >= FEWEST).then(|| code(detect_language(text)))
}

/// The code by which voices name a language: of two letters where there is one.
fn code(language: Lang) -> &'static str {
    match language {
        Lang::Ara => "ar",
        Lang::Cmn => "cmn",
        Lang::Deu => "de",
        Lang::Eng => "en",
        Lang::Fra => "fr",
        Lang::Hin => "hi",
        Lang::Ita => "it",
        Lang::Jpn => "ja",
        Lang::Kor => "ko",
        Lang::Nld => "nl",
        Lang::Por => "pt",
        Lang::Rus => "ru",
        Lang::Spa => "es",
        Lang::Swe => "sv",
        Lang::Tur => "tr",
        Lang::Vie => "vi",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tongues(voices: Option<&[(&str, &str)]>) -> Tongues {
        let pairs =
            |it: &[(&str, &str)]| it.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        let config = config::Speech {
            voices: voices.map(pairs),
            ..config::Speech::default()
        };
        Tongues::new(&config, &Manner::default(), &Environment::of_the_system())
    }

    fn languages(tongues: &mut Tongues, sentences: &[&str]) -> Vec<String> {
        let language = |sentence: &&str| {
            tongues.follow(sentence);
            tongues.current().language.clone()
        };
        sentences.iter().map(language).collect()
    }

    #[test]
    fn sentences_are_spoken_in_their_language_and_short_ones_like_the_sentence_before() {
        let sentences = [
            "It is twelve degrees in Berlin.",
            "Natürlich, gerne helfe ich dir dabei.",
            "Ja.",
            "The capital of France is Paris.",
            "今日は晴れです。",
            "OK.",
        ];
        let espeak = languages(&mut tongues(None), &sentences);
        assert_eq!(espeak, ["en", "de", "de", "en", "ja", "ja"]);
        let german = languages(&mut tongues(Some(&[("de", "mb-de5")])), &sentences);
        assert_eq!(german, ["en", "de", "de", "en", "en", "en"]);
        assert_eq!(languages(&mut tongues(Some(&[])), &sentences), ["en"; 6]);
    }

    #[test]
    fn a_voice_that_was_named_speaks_everything() {
        let manner = Manner {
            voice: Some("en-gb".into()),
            volume: None,
        };
        let environment = Environment::of_the_system();
        let mut tongues = Tongues::new(&config::Speech::default(), &manner, &environment);
        let german = "Natürlich, gerne helfe ich dir dabei.";
        assert_eq!(languages(&mut tongues, &[german]), ["en"]);
    }
}
