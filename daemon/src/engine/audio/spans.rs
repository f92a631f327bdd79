//! The rows of a spoken turn up to the end of its sound: tokens, spans of soft tokens, and tokens between
//! them.
//!
//! Rows are added as sound arrives ([`Spans::push`]) and taken from the front ([`Spans::take`]). A clone is
//! the same turn at the same point, so that one of the two can end and the other go on.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Clip;
use super::cut::Cutter;
use super::encoder::{Encoder, USUAL};
use super::stream::Stream;
use crate::engine::EngineError;
use crate::engine::llama::model::Token;

/// The rows of a turn that are not in the KV cache yet.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Spans {
    encoder: Arc<Encoder>,
    /// Tokens that end one span and begin the next.
    between: Arc<[Token]>,
    parts: VecDeque<Part>,
    cutter: Cutter,
    samples: usize,
}

#[derive(Debug, Clone)]
enum Part {
    Tokens(VecDeque<Token>),
    Sound(Box<Stream>),
}

/// Rows to be computed next.
#[derive(Debug)]
pub(in crate::engine) enum Rows {
    /// Tokens.
    Tokens(Vec<Token>),
    /// Soft tokens: rows × width.
    Soft(Vec<f32>),
}

impl Spans {
    /// A turn that begins with the tokens `before` its sound; no sound has been heard yet.
    pub(in crate::engine) fn new(
        encoder: &Arc<Encoder>,
        before: Vec<Token>,
        between: Vec<Token>,
    ) -> Self {
        let first = Part::Sound(Box::new(Stream::new(encoder)));
        Self {
            encoder: Arc::clone(encoder),
            between: between.into(),
            parts: VecDeque::from([Part::Tokens(before.into()), first]),
            cutter: Cutter::default(),
            samples: 0,
        }
    }

    /// Appends samples: 16 kHz, mono, in -1..1, any number of them. Sound beyond the longest span begins another.
    pub(in crate::engine) fn push(&mut self, mut samples: &[f32]) {
        self.samples += samples.len();
        while let Some(at) = self.cutter.cut(samples) {
            let (now, later) = samples.split_at(at);
            self.open(|stream| {
                stream.push(now);
                stream.finish();
            });
            let between = self.between.iter().copied().collect();
            let next = Part::Sound(Box::new(Stream::new(&self.encoder)));
            self.parts.extend([Part::Tokens(between), next]);
            samples = later;
        }
        self.open(|stream| stream.push(samples));
    }

    /// Appends a whole clip, which fits into one span, and ends the sound.
    pub(in crate::engine) fn record(&mut self, clip: &Clip) {
        self.samples += clip.samples().len();
        self.open(|stream| {
            stream.push(clip.samples());
            stream.finish();
        });
    }

    /// Ends the sound.
    pub(in crate::engine) fn finish(&mut self) {
        self.open(Stream::finish);
    }

    /// Drops the first `rows` tokens, which are in the KV cache already.
    pub(in crate::engine) fn skip(&mut self, rows: usize) {
        if let Some(Part::Tokens(tokens)) = self.parts.front_mut() {
            tokens.drain(..rows.min(tokens.len()));
        }
    }

    /// The tokens at the front.
    pub(in crate::engine) fn first_tokens(&self) -> Vec<Token> {
        match self.parts.front() {
            Some(Part::Tokens(tokens)) => tokens.iter().copied().collect(),
            _ => Vec::new(),
        }
    }

    /// Rows that [`Spans::take`] would give now, of at most `most`.
    pub(in crate::engine) fn upcoming(&self, most: usize) -> usize {
        let mut parts = self.parts.iter().filter(|part| !part.is_over());
        match parts.next() {
            Some(Part::Tokens(tokens)) => tokens.len().min(most),
            Some(Part::Sound(stream)) => stream.upcoming(most, USUAL),
            None => 0,
        }
    }

    /// Whether the rows that [`Spans::take`] would give now are sound, and the last of all.
    pub(in crate::engine) fn is_last(&self, most: usize) -> bool {
        let mut parts = self.parts.iter().filter(|part| !part.is_over());
        let sound = matches!(parts.next(), Some(Part::Sound(_)));
        sound && parts.next().is_none() && self.upcoming(most) == self.backlog()
    }

    /// The next rows, at most `most` (at least [`USUAL`]). Soft tokens are computed on the calling thread.
    /// `None` while too little has been heard, and at the end.
    ///
    /// # Errors
    /// When ggml fails; the turn is lost then.
    pub(in crate::engine) fn take(&mut self, most: usize) -> Result<Option<Rows>, EngineError> {
        while self.parts.front().is_some_and(Part::is_over) {
            self.parts.pop_front();
        }
        let limit = self.upcoming(most);
        match self.parts.front_mut() {
            Some(Part::Tokens(tokens)) => Ok(Some(Rows::Tokens(tokens.drain(..limit).collect()))),
            Some(Part::Sound(stream)) if limit > 0 => Ok(stream.take(limit)?.map(Rows::Soft)),
            _ => Ok(None),
        }
    }

    /// Whether everything has been taken.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.parts.iter().all(Part::is_over)
    }

    /// Rows that could be computed now: how far the machine is behind the speech. Of a finished turn, all rows
    /// that are left.
    pub(in crate::engine) fn backlog(&self) -> usize {
        let rows = |part: &Part| match part {
            Part::Tokens(tokens) => tokens.len(),
            Part::Sound(stream) => stream.ready(),
        };
        self.parts.iter().map(rows).sum()
    }

    /// Samples heard.
    pub(in crate::engine) fn samples(&self) -> usize {
        self.samples
    }

    /// Applies `change` to the span that is being heard, the last part.
    fn open(&mut self, change: impl FnOnce(&mut Stream)) {
        if let Some(Part::Sound(stream)) = self.parts.back_mut() {
            change(stream);
        }
    }
}

impl Part {
    fn is_over(&self) -> bool {
        match self {
            Self::Tokens(tokens) => tokens.is_empty(),
            Self::Sound(stream) => stream.is_over(),
        }
    }
}
