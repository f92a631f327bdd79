//! Scheduling: which batch is computed next, with which cells, and what becomes of its logits.
//!
//! | file | owns |
//! |---|---|
//! | `scheduler` | the loop of the engine thread |
//! | `order` | which batch is computed next |
//! | `sequence`, `hearing` | requests, and sound, on their way through the model |
//! | `cells` | accounting of the KV cache's cells |
//! | `places` | the number of requests under way |
//! | `sampler`, `text` | logits → tokens → text |

pub(super) mod cells;
pub(super) mod hearing;
pub(super) mod order;
pub(super) mod places;
pub(super) mod sampler;
pub(super) mod scheduler;
pub(super) mod sequence;
pub(super) mod text;
