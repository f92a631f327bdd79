//! One utterance as it is heard: samples in, soft tokens out as soon as they are final.
//!
//! A soft token is final once the sample after its 40 ms has arrived, because the encoder never looks
//! ahead. The past it looks back at is carried in the stream, so pieces of any size give the same as one
//! pass over the whole utterance, and nothing is computed twice. A stream is plain memory (1.4 MB for E2B):
//! a clone keeps a point to return to.

use std::sync::Arc;

use super::encoder::{Encoder, Front, PIECES, USUAL};
use crate::engine::EngineError;

/// An utterance.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Stream {
    encoder: Arc<Encoder>,
    front: Front,
    /// Frames that have not been encoded yet.
    frames: Vec<f32>,
    /// The encoder's state of the utterance.
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

    /// An utterance that has ended, with all its frames.
    #[cfg(test)]
    pub(super) fn with_frames(encoder: &Arc<Encoder>, frames: Vec<f32>) -> Self {
        let mut stream = Self::new(encoder);
        stream.frames = frames;
        stream.ended = true;
        stream
    }

    /// Appends samples: 16 kHz, mono, in -1..1, any number of them. After [`Stream::finish`] they are ignored.
    pub(in crate::engine) fn push(&mut self, samples: &[f32]) {
        if !self.ended {
            self.front.push(samples, &mut self.frames);
        }
    }

    /// Marks the end; an incomplete row is completed with silence.
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

    /// Soft tokens that [`Stream::take`] would give of at most `most`. Before the end of the utterance it is 0
    /// while fewer than `least` are ready.
    pub(in crate::engine) fn upcoming(&self, most: usize, least: usize) -> usize {
        match self.next_piece(most) {
            Some((rows, _)) if self.ended || self.ready() >= least => rows,
            _ => 0,
        }
    }

    /// Makes the next soft tokens (rows × width): as many as the largest of [`PIECES`] that is ready and at most
    /// `most`, or the last few, all at once. `None` when none is ready. Computes on the calling thread, and waits
    /// for others that compute with the same encoder.
    ///
    /// # Errors
    /// When ggml fails; the utterance is lost then.
    pub(in crate::engine) fn take(&mut self, most: usize) -> Result<Option<Vec<f32>>, EngineError> {
        let Some((rows, piece)) = self.next_piece(most) else {
            return Ok(None);
        };
        let frame = self.encoder.frame();
        let needed = piece * self.encoder.frames_in_row();
        let there = needed.min(self.frames.len() / frame);
        if there < needed {
            self.frames.resize(needed * frame, 0.0);
        }
        let frames = &self.frames[..needed * frame];
        let mut soft_tokens =
            self.encoder
                .compute(piece, frames, there, self.heard, &mut self.state)?;
        // Nothing looks ahead, so the part of a piece beyond the end does not affect the rows before it.
        soft_tokens.truncate(soft_tokens.len() / piece * rows);
        self.frames.drain(..needed * frame);
        self.heard += rows;
        Ok(Some(soft_tokens))
    }

    /// Number of rows that are made next, and size of their piece. The last few are made in one piece that goes
    /// beyond the end, because the weights are read for each piece, however small.
    fn next_piece(&self, most: usize) -> Option<(usize, usize)> {
        let ready = self.ready();
        let is_last = self.ended && ready > 0 && ready <= most;
        let closing = PIECES.into_iter().rev().find(|piece| *piece >= ready);
        match closing {
            // No larger: the part of a piece beyond the end is computed in vain.
            Some(piece) if is_last && piece <= USUAL => Some((ready, piece)),
            _ => largest_piece(most.min(ready)).map(|piece| (piece, piece)),
        }
    }
}

/// The largest piece of at most `most` rows.
fn largest_piece(most: usize) -> Option<usize> {
    PIECES.into_iter().find(|rows| *rows <= most)
}

#[cfg(test)]
mod tests;
