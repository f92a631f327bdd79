//! Answers constrained by a form: a grammar or a JSON Schema.
//!
//! llguidance says which tokens may come next, and which must. Forced tokens are not drawn; they are read
//! all at once, like a prompt. Protocol tokens (`<|tool_call>`, `<turn|>`) differ from text that looks like
//! them, so only a grammar that names such a token can have it written.
//!
//! | file | owns |
//! |---|---|
//! | `form` | a compiled form, and the position of an answer in it |
//! | `schema` | checks of a JSON Schema, and messages about its faults |
//! | `ahead` | the form that is compiled before anybody asks |
//! | `compiler` | forms to grammars, a few of them kept |
//! | `rehearsal` | a known answer on its way through a grammar |
//! | `vocabulary` | tokens as the compiler sees them |

mod ahead;
mod compiler;
mod form;
mod rehearsal;
mod schema;
mod vocabulary;

pub(super) use ahead::Ahead;
pub(super) use compiler::Grammars;
pub use form::Form;
pub(super) use form::{Allowed, Grammar, Guide};
pub use rehearsal::Rehearsal;
pub use schema::SchemaError;
