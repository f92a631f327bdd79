//! Waits for words. Computes nothing while nobody speaks.

use super::features::{CHUNK, Features};
use super::spotted::Spotted;
use super::word::Word;
use crate::config::{self, Meaning, Mode};
use crate::listen::vad::{FRAME, Vad};

/// Chunks of 80 ms, beyond its own, that the first embedding of a window sees; it sees 760 ms.
const BEFORE_WINDOW: usize = 9;

/// Probability of speech from which the spotter works, below which it stops, and the onset, in ms. Less than makes an
/// utterance: a false alarm costs some milliseconds, a missed word has to be said again.
const OPEN: f32 = 0.6;
const CLOSE: f32 = 0.45;
const ONSET_MS: u32 = 32;

/// Why a word is not waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeywordError {
    /// One of them cannot be used.
    #[error("a keyword model cannot be used: {0}; see [keyword] in the configuration")]
    Word(String),
    /// This machine cannot run the networks that all models are based on.
    #[error("keywords cannot be spotted here: {0}")]
    FrontEnd(String),
}

/// Waits for words in a stream of 16 kHz mono samples.
pub struct Spotter {
    vad: Vad,
    features: Features,
    words: Vec<Word>,
    /// Embeddings, one for each chunk of 80 ms, that the word with the longest window looks at.
    window: usize,
    /// Samples not looked at yet: less than a chunk, and the last chunks in which nobody spoke.
    waiting: Vec<f32>,
    /// Of `waiting`, the samples that the voice-activity detector has heard.
    heard: usize,
    /// Chunks still to be looked at although nobody speaks in them.
    hangover: usize,
}

impl Spotter {
    /// Waits for the words of this configuration that are of use in `mode`: words that halt in every mode but `off`,
    /// words that wake in mode `wake`. `None`: there are none. The errors are the words that cannot be used; the others
    /// are waited for all the same.
    #[must_use]
    pub fn new(mode: Mode, keyword: &config::Keyword) -> (Option<Self>, Vec<KeywordError>) {
        let is_wanted = |word: &&config::Word| match word.means {
            Meaning::Halt => mode != Mode::Off,
            Meaning::Wake => mode == Mode::Wake,
        };
        let (mut words, mut errors) = (Vec::new(), Vec::new());
        for word in keyword.words.iter().filter(is_wanted) {
            match Word::load(word, keyword.refractory_ms.get()) {
                Ok(word) => words.push(word),
                Err(why) => errors.push(KeywordError::Word(why)),
            }
        }
        let Some(window) = words.iter().map(|word| word.window).max() else {
            return (None, errors);
        };
        let features = Features::new(window).map_err(KeywordError::FrontEnd);
        let spotter = features.map_err(|error| errors.push(error)).ok();
        let spotter = spotter.map(|features| Self {
            vad: Vad::with(OPEN, CLOSE, ONSET_MS),
            features,
            words,
            window,
            waiting: Vec::with_capacity((window + BEFORE_WINDOW + 1) * CHUNK),
            heard: 0,
            hangover: 0,
        });
        (spotter, errors)
    }

    /// Hears the next samples, and returns the words that were completed in them.
    pub fn push(&mut self, samples: &[f32]) -> Vec<Spotted> {
        let mut spotted = Vec::new();
        self.waiting.extend_from_slice(samples);
        while let Some(frame) = self.waiting[self.heard..].first_chunk::<FRAME>() {
            self.heard += FRAME;
            if self.vad.hear(frame) {
                // A word may still be recognised in what follows the last speech.
                self.hangover = self.window;
            }
            // A chunk has five frames.
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

    /// Looks at the complete chunks, or keeps the last ones for later if nobody speaks.
    fn look(&mut self, spotted: &mut Vec<Spotted>) {
        let done = if self.hangover == 0 {
            // When speech begins, the whole window of a model is caught up with. So a model never sees sound from
            // before a silence.
            let backlog = self.window + BEFORE_WINDOW;
            self.heard.saturating_sub(backlog * CHUNK)
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
    use super::super::onnx;
    use super::*;
    use crate::config::Keyword;
    use crate::sound::testing::{noise, silence, spoken};

    fn shipped(name: &str, means: Meaning) -> config::Word {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/keyword");
        config::Word {
            model: format!("{folder}/{name}.onnx").into(),
            means,
            ..config::Word::default()
        }
    }

    fn spotter(words: Vec<config::Word>) -> (Option<Spotter>, Vec<KeywordError>) {
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
        let mut spotter = spotter(words).0.unwrap();
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
            .0
            .unwrap();
        let caught_up = spotter.window + spotter.window + BEFORE_WINDOW;
        // Its sudden beginning may be taken for speech.
        spotter.push(&noise(0.05, 3000));
        let begun = spotter.features.computed();
        assert!(begun <= caught_up, "{begun}");
        spotter.push(&noise(0.05, 10_000));
        assert_eq!(spotter.features.computed(), begun);
        spotter.push(&spoken("hello"));
        let during = spotter.features.computed();
        assert!(during > begun);
        spotter.push(&noise(0.001, 10_000));
        assert!(spotter.features.computed() <= during + caught_up);
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
            let is_there = |means| Spotter::new(mode, &keyword(means)).0.is_some();
            assert_eq!(
                (is_there(Meaning::Wake), is_there(Meaning::Halt)),
                (wakes, halts)
            );
        }
        let missing = refusal(shipped("no_such_word", Meaning::Wake));
        assert!(
            missing.contains("no_such_word.onnx: No such file"),
            "{missing}"
        );
    }

    /// A word whose model is this file, and the handle that keeps the file.
    fn made_of(onnx: &[u8]) -> (tempfile::NamedTempFile, config::Word) {
        let file = tempfile::NamedTempFile::with_suffix(".onnx").unwrap();
        std::fs::write(&file, onnx).unwrap();
        let word = config::Word {
            model: file.path().into(),
            ..config::Word::default()
        };
        (file, word)
    }

    fn refusal(word: config::Word) -> String {
        let (spotter, errors) = spotter(vec![word]);
        assert!(spotter.is_none());
        errors[0].to_string()
    }

    #[test]
    fn one_word_that_cannot_be_used_leaves_the_others() {
        let (_file, broken) = made_of(b"nonsense");
        let broken = config::Word {
            means: Meaning::Halt,
            ..broken
        };
        let words = vec![broken, shipped("stop", Meaning::Halt)];
        let (spotter, errors) = spotter(words);
        let [error] = errors.as_slice() else {
            panic!("{errors:?}")
        };
        assert!(
            error
                .to_string()
                .contains(": it is no model in ONNX format"),
            "{error}"
        );
        let sound = [noise(0.001, 1500), spoken("stop"), noise(0.001, 3000)].concat();
        let found = spotted(&mut spotter.unwrap(), &sound);
        assert!(
            matches!(found.as_slice(), [(word, _)] if word == "stop"),
            "{found:?}"
        );
    }

    #[test]
    fn a_model_says_itself_how_far_back_it_looks() {
        for window in [1, 16, 22, 28, 34] {
            let (_file, word) = made_of(&onnx::classifier(Some(window), 1));
            let (spotter, errors) = spotter(vec![word, shipped("stop", Meaning::Halt)]);
            assert_eq!(errors, []);
            let mut spotter = spotter.unwrap();
            assert_eq!(spotter.words[0].window, window);
            assert_eq!(spotter.window, window.max(16));
            let sound = [noise(0.001, 1500), spoken("stop"), noise(0.001, 3000)].concat();
            let found = spotted(&mut spotter, &sound);
            let stops = found.iter().filter(|(word, _)| word == "stop");
            assert_eq!(stops.count(), 1, "{window}: {found:?}");
        }
        let (_file, word) = made_of(&onnx::classifier(None, 1));
        assert_eq!(spotter(vec![word]).0.unwrap().window, 16);
    }

    #[test]
    fn models_of_another_shape_are_refused_with_theirs() {
        let mel = include_bytes!("../../../../models/keyword/melspectrogram.onnx");
        let refuse = |onnx: &[u8]| refusal(made_of(onnx).1);
        let cases = [
            (
                refuse(mel),
                "where a model in openWakeWord's format looks at 1 x N x 96 numbers",
            ),
            (
                refuse(&onnx::classifier(Some(16), 3)),
                "it tells 3 words apart, and a model for one word is needed",
            ),
            (
                refuse(&onnx::classifier(Some(126), 1)),
                "it looks at 126 embeddings",
            ),
        ];
        for (message, expected) in cases {
            assert!(message.contains(expected), "{message}");
            assert!(
                message.ends_with("; see [keyword] in the configuration"),
                "{message}"
            );
        }
    }
}
