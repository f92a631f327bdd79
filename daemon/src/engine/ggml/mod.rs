//! ggml: tensors, devices and threads that compute.
//!
//! | file | owns |
//! |---|---|
//! | `tensors` | tensors, their arenas, and the device that computes with them |
//! | `threads` | the threads that compute, shared by the text model and the audio encoder |
//! | `cpu` | the CPU as ggml sees it |
//! | `layout` | how matrices lie in memory for the CPU's kernels |

pub(super) mod cpu;
pub(super) mod layout;
pub(super) mod tensors;
pub(super) mod threads;
