//! Layouts of matrices for the kernels of this CPU.
//!
//! ggml multiplies some types of matrices faster if their rows are interleaved ("repacked"). It has a kind of buffer for
//! each layout, and says of a matrix whether its kernels take it from there.

use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::cpu::Cpu;
use super::tensors::Arena;

/// Rows that a matrix is tried with (llama-model-loader.cpp, `weight_buft_supported`).
const ROWS: i64 = 512;

/// Tensors of a trial: the matrix, the rows and experts it is multiplied with, and the product.
const TENSORS: usize = 4;

/// A layout: the kind of buffer that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Layout(NonNull<sys::ggml_backend_buffer_type>);

impl Layout {
    /// All layouts of this CPU, the best first.
    pub(in crate::engine) fn all(cpu: &Cpu) -> Vec<Self> {
        let mut layouts = Vec::new();
        // SAFETY: ggml returns an array that lives as long as the process and ends with null.
        unsafe {
            let mut next = (cpu.extra_buffers)(cpu.device());
            while let Some(layout) = next.as_ref().copied().and_then(NonNull::new) {
                layouts.push(Self(layout));
                next = next.add(1);
            }
        }
        layouts
    }

    /// ggml's kind of buffer.
    pub(in crate::engine) fn raw(self) -> sys::ggml_backend_buffer_type_t {
        self.0.as_ptr()
    }

    /// Whether the CPU multiplies matrices of this type and shape from this layout. Three dimensions are those of the
    /// experts of a mixture.
    ///
    /// # Errors
    /// When there is no memory.
    pub(in crate::engine) fn takes(
        self,
        cpu: &Cpu,
        kind: sys::ggml_type,
        shape: [i64; 4],
    ) -> Result<bool, String> {
        let arena = Arena::new(TENSORS)?;
        let [width, _, experts, _] = shape;
        let matrix = arena.tensor(kind, &shape);
        let product = if experts > 1 {
            let ids = arena.tensor(sys::GGML_TYPE_I32, &[1, ROWS]);
            arena.mul_mat_id(matrix, arena.floats(&[width, 1, ROWS]), ids)
        } else {
            arena.mul_mat(matrix, arena.floats(&[width, ROWS]))
        };
        // SAFETY: an empty buffer of this kind; the tensors live in the arena, and the matrix has no data.
        unsafe {
            let buffer = sys::ggml_backend_buft_alloc_buffer(self.0.as_ptr(), 0);
            if buffer.is_null() {
                return Err("out of memory".into());
            }
            (*matrix.raw()).buffer = buffer;
            let takes = sys::ggml_backend_dev_supports_op(cpu.device(), product.raw());
            (*matrix.raw()).buffer = std::ptr::null_mut();
            sys::ggml_backend_buffer_free(buffer);
            Ok(takes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantised_matrices_have_a_layout_and_floats_and_odd_shapes_have_none() {
        let cpu = Cpu::get().unwrap();
        let has = |kind, shape| {
            let mut layouts = Layout::all(cpu).into_iter();
            layouts.any(|layout| layout.takes(cpu, kind, shape).unwrap())
        };
        assert!(has(sys::GGML_TYPE_Q4_0, [256, 64, 1, 1]));
        assert!(has(sys::GGML_TYPE_Q4_0, [256, 64, 8, 1]));
        assert!(!has(sys::GGML_TYPE_F32, [256, 64, 1, 1]));
        assert!(!has(sys::GGML_TYPE_Q4_0, [256, 63, 1, 1]));
    }
}
