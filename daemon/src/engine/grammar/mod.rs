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
//! | `compiler` | forms to grammars, a few of them kept |
//! | `vocabulary` | tokens as the compiler sees them |

mod compiler;
mod form;
mod schema;
mod vocabulary;

pub(super) use compiler::Grammars;
pub use form::Form;
pub(super) use form::{Allowed, Grammar, Guide};
pub use schema::SchemaError;
