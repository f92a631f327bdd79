//! Prefill that stops once the prompt is in the KV cache.
//!
//! In Gemma 4 E2B, layers 15 to 34 of 35 only read the keys and values of earlier layers. A row without
//! logits needs none of these layers, nor the rest of the last layer that writes; llama.cpp computes them
//! all the same (its TODO at src/models/gemma4.cpp:275). The scheduler that runs llama.cpp's graph asks a
//! callback about every node and stops where the callback says so (ggml-backend.cpp,
//! `ggml_backend_sched_compute_splits`), and `llama_decode` still succeeds. So a batch without logits ends
//! at the node that stores the last values. The cache is then the same to the bit as after the whole batch.

use std::cell::Cell;
use std::ffi::{CStr, c_void};

use llama_cpp_sys_2 as sys;

use super::gguf::Header;

/// Layers of Gemma 3n that store keys and values, whatever its file says (src/models/gemma3n.cpp).
const STORING_IN_3N: u32 = 20;

/// Number of layers, the last ones, that only read the KV of earlier layers, in the model with this header.
pub(in crate::engine) fn shared_layers(header: &Header) -> u32 {
    let key = |key| header.u32(key).unwrap_or(0);
    match header.architecture() {
        "gemma4" => key("gemma4.attention.shared_kv_layers"),
        "gemma3n" => key("gemma3n.block_count").saturating_sub(STORING_IN_3N),
        _ => 0,
    }
}

/// Ends batches early. A context holds it as long as it lives, as the user data of [`observe`].
#[derive(Debug)]
pub(in crate::engine) struct KvOnly {
    /// Name of the last value cache. The node that stores into it is a view named after it
    /// (llama-kv-cache.cpp, `cache_v_l%d`; ggml.c, `ggml_view_tensor`).
    last: String,
    /// Whether the batch being computed may end early.
    armed: Cell<bool>,
    /// Whether the last armed batch ended early.
    reached: Cell<bool>,
    /// Whether every graph so far was as expected. Without, no batch is armed.
    works: Cell<bool>,
}

impl KvOnly {
    /// For a model of `layers` layers of which the last `shared` only read the KV of earlier ones.
    pub(in crate::engine) fn new(layers: u32, shared: u32) -> Self {
        let last = layers.saturating_sub(shared).saturating_sub(1);
        Self {
            last: format!("cache_v_l{last} "),
            armed: Cell::new(false),
            reached: Cell::new(false),
            works: Cell::new(true),
        }
    }

    /// Before a batch: lets it end early unless it `wants_logits`.
    pub(in crate::engine) fn arm(&self, wants_logits: bool) {
        self.armed.set(!wants_logits && self.works.get());
        if self.armed.get() {
            self.reached.set(false);
        }
    }

    /// After a batch: gives up with a warning if the graph was not as expected. That batch was computed to
    /// its end, so only time is lost.
    pub(in crate::engine) fn check(&self) {
        if self.armed.get() && !self.reached.get() {
            self.give_up();
            log::warn!(
                "llama.cpp's graph stores no {}as expected; prefill is not shortened",
                self.last
            );
        }
    }

    /// From now on every batch is computed to its end.
    pub(in crate::engine) fn give_up(&self) {
        self.works.set(false);
    }

    /// Whether the last armed batch ended early.
    #[cfg(test)]
    pub(in crate::engine) fn saved_anything(&self) -> bool {
        self.reached.get()
    }

    /// Whether `node` stores the last values of the batch.
    fn is_last(&self, op: sys::ggml_op, name: &CStr) -> bool {
        op == sys::GGML_OP_SET_ROWS && name.to_bytes().starts_with(self.last.as_bytes())
    }
}

/// The evaluation callback for llama.cpp, which first asks (`ask`) whether a node is to be observed. If so, llama.cpp
/// calls again once the node is computed; the result then says whether to go on.
pub(in crate::engine) unsafe extern "C" fn observe(
    node: *mut sys::ggml_tensor,
    ask: bool,
    user: *mut c_void,
) -> bool {
    // SAFETY: the user data is the `KvOnly` of the context that computes, which outlives it, on the
    // one thread that uses either.
    let kv_only = unsafe { &*user.cast::<KvOnly>() };
    if !kv_only.armed.get() {
        return !ask;
    }
    if ask {
        // SAFETY: llama.cpp passes a tensor of its graph, whose name is NUL-terminated.
        let (op, name) = unsafe { ((*node).op, CStr::from_ptr((*node).name.as_ptr())) };
        return kv_only.is_last(op, name);
    }
    kv_only.reached.set(true);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_store_is_that_of_the_last_layer_that_writes() {
        let e2b = KvOnly::new(35, 20);
        assert!(e2b.is_last(sys::GGML_OP_SET_ROWS, c"cache_v_l14 (view)"));
        assert!(e2b.is_last(sys::GGML_OP_SET_ROWS, c"cache_v_l14 (reshaped) (view)"));
        assert!(!e2b.is_last(sys::GGML_OP_SET_ROWS, c"cache_v_l1 (view)"));
        assert!(!e2b.is_last(sys::GGML_OP_SET_ROWS, c"cache_k_l14 (view)"));
        assert!(!e2b.is_last(sys::GGML_OP_VIEW, c"cache_v_l14 (view)"));
        assert!(KvOnly::new(30, 0).is_last(sys::GGML_OP_SET_ROWS, c"cache_v_l29 (view)"));
    }

    #[test]
    fn a_graph_without_the_expected_store_is_not_waited_for_again() {
        let kv_only = KvOnly::new(5, 2);
        kv_only.arm(false);
        assert!(kv_only.armed.get());
        kv_only.check();
        kv_only.arm(false);
        assert!(!kv_only.armed.get());
    }
}
