//! The assistant: from questions to answers.
//!
//! | file | owns |
//! |---|---|
//! | `voice` | the handle of listening and speaking |
//! | `session` | which turns begin and end, and what is told of them: pure steps |
//! | `turns` | the task that follows ears and mouth, and carries out what the session decides |
//! | `status` | the state of hearing and speaking |
//! | `hearing` | when the answer to an utterance is begun while it is heard: pure steps |
//! | `spoken_turn` | one utterance, from its first sample to its answer |
//! | `words` | whether the words heard so far go on |
//! | `aloud` | an answer on its way to the loudspeaker |
//! | `event` | the events of a spoken turn |
//! | `problem` | what is wrong with hearing and speaking, as the status tells it |

mod aloud;
mod event;
mod hearing;
mod problem;
mod session;
mod spoken_turn;
mod status;
mod turns;
mod voice;
mod words;

pub use event::Event;
pub use status::{State, Status, VoiceError};
pub use voice::Voice;
