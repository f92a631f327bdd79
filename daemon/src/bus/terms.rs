//! The daemon's terms in those of the contract.

use std::time::Duration;

use crate::assistant::typed::TypedAnswer;
use crate::{assistant, commands, engine};

/// The contract promises what the engine takes.
const _: () = assert!(engine::LONGEST_SCHEMA == gemmad_api::AskOptions::LONGEST_SCHEMA);

/// The statistics of a typed answer that has ended.
pub(super) fn stats(stats: engine::Stats, answer: &TypedAnswer) -> gemmad_api::Stats {
    gemmad_api::Stats {
        forgotten: u32::try_from(answer.forgotten).unwrap_or(u32::MAX),
        undone: answer.is_undone,
        ..stats.into()
    }
}

impl From<engine::Stats> for gemmad_api::Stats {
    fn from(stats: engine::Stats) -> Self {
        let sound = stats.sound;
        Self {
            request: stats.request,
            forgotten: 0,
            prompt_tokens: stats.prompt_tokens,
            cached_tokens: stats.cached_tokens,
            audio_tokens: stats.audio_tokens,
            output_tokens: stats.output_tokens,
            forced_tokens: stats.forced_tokens,
            thought_tokens: stats.thought_tokens,
            queue_ms: milliseconds(stats.queue),
            encode_ms: milliseconds(stats.encode),
            prefill_ms: milliseconds(stats.prefill),
            first_token_ms: milliseconds(stats.first_token),
            decode_ms: milliseconds(stats.decode),
            total_ms: milliseconds(stats.total),
            sound_ms: sound.map(|it| milliseconds(it.length)),
            real_time_factor: sound.map(|it| it.real_time_factor),
            backlog_ms: sound.map(|it| milliseconds(it.backlog)),
            end_encode_ms: sound.map(|it| milliseconds(it.end_encode)),
            end_prefill_ms: sound.map(|it| milliseconds(it.end_prefill)),
            speech_to_token_ms: stats.speech_to_token.map(milliseconds),
            cut_short: stats.cut_short,
            undone: false,
            finish: match stats.finish {
                engine::Finish::Stop => gemmad_api::Finish::Stop,
                engine::Finish::Length => gemmad_api::Finish::Length,
            },
        }
    }
}

impl From<engine::Health> for gemmad_api::Health {
    fn from(health: engine::Health) -> Self {
        Self {
            active: health.active,
            queued: health.queued,
            turns: health.turns,
            backlog_ms: u32::try_from(health.backlog.as_millis()).unwrap_or(u32::MAX),
            cells_used: health.cells_used,
            cells_total: health.cells_total,
            prefix_cells: health.prefix_cells,
            long_cells: health.long_cells,
            finished: health.finished,
        }
    }
}

impl From<engine::Passage> for gemmad_api::Passage {
    fn from(passage: engine::Passage) -> Self {
        Self {
            kind: match passage.kind {
                engine::PassageKind::Text => gemmad_api::PassageKind::Text,
                engine::PassageKind::Control => gemmad_api::PassageKind::Control,
                engine::PassageKind::Sound => gemmad_api::PassageKind::Sound,
            },
            text: passage.text,
            tokens: u32::try_from(passage.tokens).unwrap_or(u32::MAX),
        }
    }
}

impl From<assistant::State> for gemmad_api::VoiceState {
    fn from(state: assistant::State) -> Self {
        match state {
            assistant::State::Off => Self::Off,
            assistant::State::Waiting => Self::Waiting,
            assistant::State::Listening => Self::Listening,
            assistant::State::Thinking => Self::Thinking,
            assistant::State::Speaking => Self::Speaking,
        }
    }
}

impl From<commands::Status> for gemmad_api::InvocationStatus {
    fn from(status: commands::Status) -> Self {
        match status {
            commands::Status::Done => Self::Done,
            commands::Status::DryRun => Self::DryRun,
            commands::Status::Unconfirmed => Self::Unconfirmed,
            commands::Status::TooSoon => Self::TooSoon,
            commands::Status::NotAllowed => Self::NotAllowed,
            commands::Status::Skipped => Self::Skipped,
            commands::Status::Cancelled => Self::Cancelled,
            commands::Status::Running => Self::Running,
            commands::Status::Failed => Self::Failed,
            commands::Status::TimedOut => Self::TimedOut,
            commands::Status::Refused => Self::Refused,
            commands::Status::Expired => Self::Expired,
            commands::Status::Displaced => Self::Displaced,
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
