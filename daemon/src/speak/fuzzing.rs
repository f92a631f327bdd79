//! The reading of texts, and of what a synthesiser writes, opened to the fuzz targets in `daemon/fuzz`.
//!
//! No ordinary build has this (feature `fuzzing`).

use super::passage::Passage;
use super::pcm::Reader;
use super::sentences::{Sentences, Step};
use super::speakable::speakable;

/// A sentence, a clause or a block of code.
#[derive(Debug, PartialEq, Eq)]
pub struct Spoken {
    /// Its Markdown; nothing for code.
    pub written: String,
    /// What the synthesiser gets of it.
    pub said: String,
}

/// The passages that are said, in order, of a text in this language that comes in these pieces.
#[must_use]
pub fn spoken<'a>(pieces: impl IntoIterator<Item = &'a str>, language: &str) -> Vec<Spoken> {
    let mut sentences = Sentences::new(language);
    let mut spoken = Vec::new();
    for piece in pieces {
        sentences.push(piece);
        read(&mut sentences, language, &mut spoken);
    }
    sentences.end();
    read(&mut sentences, language, &mut spoken);
    spoken
}

/// Reads all that has come.
fn read(sentences: &mut Sentences, language: &str, spoken: &mut Vec<Spoken>) {
    loop {
        match sentences.read() {
            Step::Passage(passage) => {
                let said = speakable(&passage, language);
                let written = match passage {
                    Passage::Text(text) => text,
                    Passage::Code => String::new(),
                };
                spoken.push(Spoken { written, said });
            }
            Step::More => {}
            Step::Starved | Step::Over => return,
        }
    }
}

/// The samples, interleaved, that a synthesiser writes in these pieces: a WAV file, or samples of the rate `raw`.
///
/// # Errors
/// Why it cannot be played.
pub fn samples<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    raw: Option<u32>,
) -> Result<Vec<f32>, &'static str> {
    let mut reader = Reader::new(raw);
    let mut samples = Vec::new();
    for piece in pieces {
        if let Some((_, more)) = reader.push(piece)? {
            samples.extend(more);
        }
    }
    Ok(samples)
}
