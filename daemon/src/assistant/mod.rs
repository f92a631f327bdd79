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
//! | `partial` | the words of an utterance that goes on |
//! | `conversation` | whose a conversation is, and what was said in it |
//! | `room` | the conversation of the spoken turns |
//! | `conversations`, `shelf` | the typed conversations of all users, in memory and on disk |
//! | `typed` | a typed question and its answer, which its conversation remembers |
//! | `acting` | a typed question whose answer may consist of commands |
//! | `talk` | what commands can do with the conversation of the room |
//! | `words` | whether the words heard so far go on |
//! | `aloud` | an answer on its way to the loudspeaker |
//! | `ringing` | a timer that rings |
//! | `event` | the events of a spoken turn |
//! | `problem` | what is wrong with hearing and speaking, as the status tells it |

mod acting;
mod aloud;
mod conversation;
mod conversations;
mod event;
mod hearing;
mod partial;
mod problem;
mod ringing;
mod room;
mod session;
mod shelf;
mod spoken_turn;
mod status;
mod talk;
mod turns;
pub mod typed;
mod voice;
mod words;

pub use conversation::{Conversation, ConversationError, Key};
pub use conversations::{Conversations, Summary, UnderWay};
pub use event::Event;
pub use shelf::{Shelf, clear};
pub use status::{State, Status, VoiceError};
pub use talk::Talk;
pub use voice::Voice;
