//! One utterance as it is heard: samples in, soft tokens out as soon as they are final.
//!
//! A soft token is final once the sample after its 40 ms is in, because the encoder never looks
//! ahead. What it looks back at is carried along in the stream, so pieces of any size give what one
//! pass over the whole utterance gives, and nothing is computed twice. A stream is plain memory
//! (1.4 MB for E2B): cloning it keeps a place to come back to.

use std::sync::Arc;

use super::encoder::{Encoder, Front, PIECES};
use crate::engine::EngineError;

/// An utterance.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Stream {
    encoder: Arc<Encoder>,
    front: Front,
    /// Frames that no soft token has been made of.
    frames: Vec<f32>,
    /// What the encoder remembers of the utterance.
    state: Vec<f32>,
    /// Soft tokens made.
    heard: usize,
    ended: bool,
}

impl Stream {
    /// An utterance of which nothing has been heard.
    pub(in crate::engine) fn new(encoder: &Arc<Encoder>) -> Self {
        Self {
            encoder: Arc::clone(encoder),
            front: encoder.front(),
            frames: Vec::new(),
            state: vec![0.0; encoder.state()],
            heard: 0,
            ended: false,
        }
    }

    /// An utterance that has ended and of which all frames are there.
    #[cfg(test)]
    pub(super) fn with_frames(encoder: &Arc<Encoder>, frames: Vec<f32>) -> Self {
        let mut stream = Self::new(encoder);
        stream.frames = frames;
        stream.ended = true;
        stream
    }

    /// Takes samples: 16 kHz, mono, in -1..1, as many as there are. After [`Stream::finish`] they
    /// are ignored.
    pub(in crate::engine) fn push(&mut self, samples: &[f32]) {
        if !self.ended {
            self.front.push(samples, &mut self.frames);
        }
    }

    /// Marks the end: what is incomplete is completed with silence.
    pub(in crate::engine) fn finish(&mut self) {
        if !self.ended {
            self.ended = true;
            self.front.finish(&mut self.frames);
        }
    }

    /// Soft tokens that [`Stream::take`] can give now.
    pub(in crate::engine) fn ready(&self) -> usize {
        let frames = self.frames.len() / self.encoder.frame();
        if self.ended {
            frames.div_ceil(self.encoder.frames_in_row())
        } else {
            frames / self.encoder.frames_in_row()
        }
    }

    /// Soft tokens taken.
    #[cfg(test)]
    pub(super) fn heard(&self) -> usize {
        self.heard
    }

    /// Whether it has ended and all of it has been taken.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.ended && self.ready() == 0
    }

    /// Soft tokens that [`Stream::take`] would give, of at most `most`, if before the end pieces are
    /// at least `least`.
    pub(in crate::engine) fn upcoming(&self, most: usize, least: usize) -> usize {
        let ready = self.ready();
        if !self.ended && ready < least {
            return 0;
        }
        largest_piece(most.min(ready)).unwrap_or(0)
    }

    /// Makes the next soft tokens: rows × width, the largest of [`PIECES`] that is ready and at
    /// most `most`. Nothing when none is. Computes on the calling thread, and waits for others that
    /// compute with the same encoder.
    ///
    /// # Errors
    /// When ggml fails; the utterance is lost then.
    pub(in crate::engine) fn take(&mut self, most: usize) -> Result<Option<Vec<f32>>, EngineError> {
        let Some(rows) = largest_piece(most.min(self.ready())) else {
            return Ok(None);
        };
        let frame = self.encoder.frame();
        let needed = rows * self.encoder.frames_in_row();
        let there = needed.min(self.frames.len() / frame);
        if there < needed {
            self.frames.resize(needed * frame, 0.0);
        }
        let frames = &self.frames[..needed * frame];
        let soft_tokens = self
            .encoder
            .compute(rows, frames, there, self.heard, &mut self.state)?;
        self.frames.drain(..needed * frame);
        self.heard += rows;
        Ok(Some(soft_tokens))
    }
}

/// The largest piece of at most `most` rows.
fn largest_piece(most: usize) -> Option<usize> {
    PIECES.into_iter().find(|rows| *rows <= most)
}

#[cfg(test)]
mod tests;
