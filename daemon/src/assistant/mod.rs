//! The assistant: from questions to answers.
//!
//! | file | owns |
//! |---|---|
//! | `voice` | the handle of listening and speaking |
//! | `turns` | the task that follows ears and mouth, and starts spoken turns |
//! | `status` | the state of hearing and speaking |
//! | `spoken_turn` | one utterance, from its first sample to its answer |
//! | `event` | the events of a spoken turn |
//! | `problem` | what is wrong with hearing and speaking, as the status tells it |

mod event;
mod problem;
mod spoken_turn;
mod status;
mod turns;
mod voice;

pub use event::Event;
pub use status::{Status, VoiceError};
pub use voice::Voice;
