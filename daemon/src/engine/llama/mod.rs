//! llama.cpp: the library, the loaded files, and the context that computes.
//!
//! | file | owns |
//! |---|---|
//! | `backend` | the library of this process, and its log |
//! | `bus_error` | a file that is cut short while it is mapped |
//! | `gguf` | the header of a model file |
//! | `model` | weights, vocabulary, template, projector |
//! | `foreseen` | the tokens of a model, before it is loaded |
//! | `markers` | tokens that are no text although llama.cpp finds them in any |
//! | `context` | the KV cache and the batches |
//! | `mixed` | a batch of soft tokens with tokens behind them |
//! | `kv_only` | prefill that stops once the prompt is in the cache |

pub(super) mod backend;
mod bus_error;
pub(super) mod context;
pub(super) mod foreseen;
pub(super) mod gguf;
pub(super) mod kv_only;
mod markers;
pub(super) mod mixed;
pub(super) mod model;
pub(super) mod placing;
