//! The engine: everything llama.cpp, on one OS thread behind an async handle.
//!
//! [`Engine::start`] starts the thread and [`Engine::load`] has it load the model. [`Engine::submit`] renders
//! and tokenises a [`Request`] outside the engine thread and hands the tokens over. The [`Answer`] it returns
//! yields the text as it is generated. Dropping the answer cancels the request: the engine notices between
//! two batches and frees the request's place and KV cells.
//!
//! Speech is computed while it is spoken: [`Engine::listen`] opens a [`Turn`], and the sound pushed into it goes
//! into the KV cache as it arrives.
//!
//! | file | owns |
//! |---|---|
//! | `handle`, `phase` | the async handle, and what the engine is doing |
//! | `request`, `tool_call`, `answer` | requests, tool calls and answers |
//! | `now` | the date and the time, as the model is told |
//! | `stats` | statistics of an answer, and the engine's load |
//! | `requests` | numbers requests and makes jobs of them |
//! | `turn` | the handle of a turn that is being spoken |
//! | `bounds`, `limits` | limits on the length of texts |
//! | `grammar` | answers constrained by a grammar or a JSON Schema |
//! | `prompt` | messages → tokens |
//! | `audio` | samples → soft tokens |
//! | `schedule` | which batch is computed next, with which cells; logits → text |
//! | `llama`, `ggml` | llama.cpp and ggml |
//! | `probe` | the first run of model files, in a process of its own |
//! | `host` | the engine thread: it loads the model, serves, and reports how that ended |
//! | `keeping`, `lease` | which model is loaded next and what it keeps; who needs the one that is loaded |
//! | `memory`, `scarcity` | how a model is made to fit into memory, and what is given back when that is scarce |
//! | `stop` | the stop flag |

mod answer;
mod audio;
mod bounds;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ggml;
mod grammar;
mod handle;
mod heap;
mod host;
mod keeping;
mod lease;
mod limits;
mod llama;
mod megabytes;
mod memory;
mod now;
mod phase;
mod probe;
mod prompt;
mod request;
mod requests;
mod scarcity;
mod schedule;
mod stats;
mod stop;
mod tool_call;
mod turn;

pub use answer::{Answer, Event, Whole};
pub use audio::Clip;
pub use bounds::LONGEST_SCHEMA;
pub use error::{EngineError, LoadError};
pub use grammar::{Form, Rehearsal, SchemaError};
pub use handle::Engine;
pub use limits::Limits;
pub use megabytes::Megabytes;
pub use memory::check_files;
pub use now::now;
pub use phase::{Phase, Ready};
pub use probe::Probe;
pub use prompt::rendering::{Passage, PassageKind};
pub use request::{Message, Preamble, Priority, Question, Request, Sampling};
pub use scarcity::{Pace, Scarcity};
pub use schedule::places::Place;
pub use schedule::scheduler::Kept;
pub use schedule::text::Piece;
pub use stats::{Confidence, Finish, Health, SoundStats, Stats};
pub use tool_call::ToolCall;
pub use turn::Turn;
