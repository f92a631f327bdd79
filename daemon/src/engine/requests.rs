//! Numbers requests and makes jobs for the engine thread of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::answer::Outlet;
use super::error::EngineError;
use super::grammar::{Grammar, Guide};
use super::request::{Priority, Question, Request};
use crate::engine::llama::model::Token;
use crate::engine::schedule::places::Place;
use crate::engine::schedule::sequence::Job;

/// Numbers requests and turns.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests(Arc<AtomicU64>);

impl Requests {
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The engine thread's job for `request`, whose form is this grammar. `prompt` holds its tokens; those that it forces
    /// at the start of the answer are appended.
    ///
    /// # Errors
    /// When the grammar cannot be followed.
    pub(super) fn job(
        request: &Request,
        grammar: Option<&Grammar>,
        mut prompt: Vec<Token>,
        priority: Priority,
        place: Arc<Place>,
        (id, outlet): (u64, Outlet),
    ) -> Result<Job, EngineError> {
        let mut guide = grammar.map(Grammar::guide);
        let begun = guide.as_mut().map_or(Ok(Vec::new()), Guide::forced)?;
        prompt.extend(&begun);
        Ok(Job {
            id,
            prompt,
            begun,
            guide,
            max_tokens: request.max_tokens as usize,
            min_tokens: request.min_tokens,
            is_text: request.text_only,
            sampling: request.sampling.clone(),
            priority,
            heard: request.heard,
            is_cut_short: matches!(&request.question, Question::Clip(clip, _) if clip.is_cut_short()),
            owner: request.owner.clone(),
            arrived: Instant::now(),
            place,
            outlet,
        })
    }
}
