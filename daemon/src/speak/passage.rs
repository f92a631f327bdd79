//! A piece of text that is spoken at a time.

/// What is spoken at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// A sentence or a clause, in Markdown.
    Text(String),
    /// A block of code.
    Code,
}
