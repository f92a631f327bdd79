//! The manner of a chat template: how it takes what templates disagree about.

/// How a chat template takes what templates disagree about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Manner {
    /// Where it takes the system text.
    pub system: System,
    /// Where it takes the results of calls.
    pub results: Results,
    /// Whether it declares tools to the model.
    pub tools: bool,
}

/// Where a template takes the system text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum System {
    /// In a message of its own, the first.
    #[default]
    Message,
    /// Nowhere, so that it is put before the person's first text.
    Question,
}

/// Where a template takes the results of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Results {
    /// In `tool_responses` of the message that called, as both generations of Gemma 4's published templates do.
    #[default]
    Responses,
    /// In messages of role `tool` after it, as most other templates do.
    Messages,
}
