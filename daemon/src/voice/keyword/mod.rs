//! Words that are known without the language model, from the moment they were said: one that wakes the
//! assistant, one that halts it.
//!
//! | file | owns |
//! |---|---|
//! | here | the words that are waited for, and that nothing is computed while nobody speaks |
//! | `features` | sound → openWakeWord's features: a mel spectrogram, and Google's speech embedding of it |
//! | `word` | features → how sure one is that this word was just said |
//! | `network` | a file in ONNX format, run by tract |
//!
//! The models have the format of [openWakeWord](https://github.com/dscripka/openWakeWord) 0.6, for which there are
//! many, and a way to make one's own.

mod features;
mod network;
mod word;

use std::path::PathBuf;

use super::vad::{FRAME, Vad};
use crate::config::{self, Meaning, Mode};
use features::{CHUNK, Features, WINDOW};
use word::Word;

/// Chunks of 80 ms that are caught up with when somebody begins to speak: all that a model sees, so that what it sees
/// is never what was before a silence. Its window is [`WINDOW`] embeddings, the first of which sees 760 ms.
const BACKLOG: usize = WINDOW + 9;

/// Chunks of 80 ms that are still listened to after the last speech, in which a word may still be recognised.
const HANGOVER: usize = WINDOW;

/// Probability of speech from which it is listened to, and below which it no longer is; and for how long there must be
/// some. Less than makes an utterance: a false alarm costs some milliseconds, a word that is missed is said again.
const OPEN: f32 = 0.6;
const CLOSE: f32 = 0.45;
const ONSET_MS: u32 = 32;

/// Why there are no words to wait for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeywordError {
    /// One of them cannot be used.
    #[error("the keyword model {} cannot be used: {why}; see [keyword] in the configuration", model.display())]
    Word {
        /// Its model.
        model: PathBuf,
        /// What is wrong with that.
        why: String,
    },
    /// This machine cannot run what all models are based on.
    #[error("keywords cannot be spotted here: {0}")]
    FrontEnd(String),
}

/// A word that was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Spotted {
    /// Its name: the file's, without what follows the last dot.
    pub word: String,
    /// What it means.
    pub meaning: Meaning,
    /// How sure its model is, 0 to 1.
    pub score: f32,
}

/// Waits for words in a stream of 16 kHz mono samples.
pub struct Spotter {
    vad: Vad,
    features: Features,
    words: Vec<Word>,
    /// Samples that nobody has looked at: less than a chunk, and the last chunks in which nobody spoke.
    waiting: Vec<f32>,
    /// Of `waiting`, the samples whose frames the voice-activity detector has heard.
    heard: usize,
    /// Chunks still to be looked at although nobody speaks in them.
    hangover: usize,
}

impl Spotter {
    /// Waits for the words of this configuration that are of use with it: in every mode for those that halt, and
    /// for those that wake where it sleeps. `None`: there are none.
    ///
    /// # Errors
    /// When a model cannot be used.
    pub fn new(mode: Mode, keyword: &config::Keyword) -> Result<Option<Self>, KeywordError> {
        let is_wanted = |word: &&config::Word| match word.means {
            Meaning::Halt => mode != Mode::Off,
            Meaning::Wake => mode == Mode::Wake,
        };
        let wanted: Vec<_> = keyword.words.iter().filter(is_wanted).collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let words = wanted.into_iter().map(|word| {
            Word::load(word, keyword.refractory_ms.get()).map_err(|why| KeywordError::Word {
                model: word.model.clone(),
                why,
            })
        });
        Ok(Some(Self {
            words: words.collect::<Result<_, _>>()?,
            vad: Vad::with(OPEN, CLOSE, ONSET_MS),
            features: Features::new().map_err(KeywordError::FrontEnd)?,
            waiting: Vec::with_capacity((BACKLOG + 1) * CHUNK),
            heard: 0,
            hangover: 0,
        }))
    }

    /// Hears the next samples, and returns the words that were completed in them.
    pub fn push(&mut self, samples: &[f32]) -> Vec<Spotted> {
        let mut spotted = Vec::new();
        self.waiting.extend_from_slice(samples);
        while let Some(frame) = self.waiting[self.heard..].first_chunk::<FRAME>() {
            self.heard += FRAME;
            if self.vad.hear(frame) {
                self.hangover = HANGOVER;
            }
            // A frame ends with every fifth of a chunk.
            if self.heard.is_multiple_of(CHUNK) {
                self.look(&mut spotted);
            }
        }
        spotted
    }

    /// Forgets all sound, because what comes next does not follow on it.
    pub fn reset(&mut self) {
        self.vad.reset();
        self.features.reset();
        self.words.iter_mut().for_each(Word::reset);
        self.waiting.clear();
        self.heard = 0;
        self.hangover = 0;
    }

    /// Looks at the chunks that are complete, or keeps the last ones for later if nobody speaks.
    fn look(&mut self, spotted: &mut Vec<Spotted>) {
        let done = if self.hangover == 0 {
            self.heard.saturating_sub(BACKLOG * CHUNK)
        } else {
            for chunk in self.waiting[..self.heard].as_chunks::<CHUNK>().0 {
                let features = self.features.push(chunk);
                spotted.extend(self.words.iter_mut().filter_map(|it| it.hear(features)));
            }
            self.hangover -= 1;
            if self.hangover == 0 {
                self.vad.close();
            }
            self.heard
        };
        self.waiting.drain(..done);
        self.heard -= done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Keyword;
    use crate::voice::sounds::{noise, silence, spoken};

    fn shipped(name: &str, means: Meaning) -> config::Word {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/keyword");
        config::Word {
            model: format!("{folder}/{name}.onnx").into(),
            means,
            ..config::Word::default()
        }
    }

    fn spotter(words: Vec<config::Word>) -> Result<Option<Spotter>, KeywordError> {
        Spotter::new(
            Mode::Wake,
            &Keyword {
                words,
                ..Keyword::default()
            },
        )
    }

    /// The words spotted in this sound, and the milliseconds of it after which they were.
    fn spotted(spotter: &mut Spotter, sound: &[f32]) -> Vec<(String, usize)> {
        let mut all = Vec::new();
        for (index, piece) in sound.chunks(160).enumerate() {
            let found = spotter.push(piece).into_iter();
            all.extend(found.map(|it| (it.word, (index + 1) * 10)));
        }
        all
    }

    #[test]
    fn the_shipped_words_are_spotted_when_they_end_and_others_are_not() {
        let words = vec![
            shipped("hey_gemma", Meaning::Wake),
            shipped("stop", Meaning::Halt),
        ];
        let mut spotter = spotter(words).unwrap().unwrap();
        let lead = noise(0.001, 1500);
        for (text, name) in [("hey gemma", "hey_gemma"), ("stop", "stop")] {
            let said = spoken(text);
            let end = (lead.len() + said.len()) / 16;
            let sound = [lead.clone(), said, noise(0.001, 3000)].concat();
            let found = spotted(&mut spotter, &sound);
            let [(word, at)] = found.as_slice() else {
                panic!("{text}: {found:?}")
            };
            // What espeak-ng says ends with silence.
            assert_eq!(word, name);
            assert!(
                (end - 500..end + 300).contains(at),
                "{text}: {at}, end {end}"
            );
        }
        for text in ["turn on the kitchen light", "what is the weather today"] {
            let sound = [lead.clone(), spoken(text), noise(0.001, 3000)].concat();
            assert_eq!(spotted(&mut spotter, &sound), [], "{text}");
        }
        assert_eq!(spotted(&mut spotter, &silence(5000)), []);
    }

    #[test]
    fn nothing_is_computed_while_nobody_speaks() {
        let mut spotter = spotter(vec![shipped("hey_gemma", Meaning::Wake)])
            .unwrap()
            .unwrap();
        // That it begins all at once may be taken for somebody.
        spotter.push(&noise(0.05, 3000));
        let begun = spotter.features.computed();
        assert!(begun <= HANGOVER + BACKLOG, "{begun}");
        spotter.push(&noise(0.05, 10_000));
        assert_eq!(spotter.features.computed(), begun);
        spotter.push(&spoken("hello"));
        let during = spotter.features.computed();
        assert!(during > begun);
        spotter.push(&noise(0.001, 10_000));
        assert!(spotter.features.computed() <= during + HANGOVER + BACKLOG);
    }

    #[test]
    fn words_are_loaded_only_where_they_are_of_use_and_a_file_that_is_none_is_named() {
        let word = |means| vec![shipped("hey_gemma", means)];
        let keyword = |means| Keyword {
            words: word(means),
            ..Keyword::default()
        };
        for (mode, wakes, halts) in [
            (Mode::Wake, true, true),
            (Mode::Always, false, true),
            (Mode::Push, false, true),
            (Mode::Off, false, false),
        ] {
            let is_there = |means| Spotter::new(mode, &keyword(means)).unwrap().is_some();
            assert_eq!(
                (is_there(Meaning::Wake), is_there(Meaning::Halt)),
                (wakes, halts)
            );
        }
        let refuse = |text: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, text).unwrap();
            let word = config::Word {
                model: file.path().into(),
                ..config::Word::default()
            };
            spotter(vec![word]).err().unwrap().to_string()
        };
        assert!(refuse(b"nonsense").contains("cannot be used"));
        // A network, but of another shape.
        let mel = include_bytes!("../../../../models/keyword/melspectrogram.onnx");
        assert!(refuse(mel).contains("cannot be used"));
        let missing = spotter(vec![shipped("no_such_word", Meaning::Wake)]);
        let missing = missing.err().unwrap().to_string();
        assert!(
            missing.contains("no_such_word.onnx cannot be used: No such file"),
            "{missing}"
        );
    }
}
