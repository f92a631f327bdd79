//! ggml, as far as the encoder needs it: tensors, arenas that hold them, a device that computes.
//!
//! A [`Tensor`] is a plain handle, valid as long as its [`Arena`]; a holder of handles also holds the arena,
//! or something that outlives it. ggml checks shapes and aborts on a wrong one, so shapes from a file are
//! checked where they are read (`weights`).

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::threads::Threads;

/// A handle on a tensor: up to four dimensions, the fastest first.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Tensor(NonNull<sys::ggml_tensor>);

/// Memory for descriptions of tensors and graphs; the data lie on a device.
#[derive(Debug)]
pub(in crate::engine) struct Arena(NonNull<sys::ggml_context>);

/// Data of all the tensors of an arena, on a device.
#[derive(Debug)]
pub(in crate::engine) struct Buffer(NonNull<sys::ggml_backend_buffer>);

/// ggml's kinds of devices that are GPUs.
const GPUS: [sys::ggml_backend_dev_type; 2] = [
    sys::GGML_BACKEND_DEVICE_TYPE_GPU,
    sys::GGML_BACKEND_DEVICE_TYPE_IGPU,
];

/// A ggml backend, which computes graphs.
#[derive(Debug)]
pub(in crate::engine) struct Device {
    backend: NonNull<sys::ggml_backend>,
    /// Threads of the CPU; a GPU has its own.
    threads: Option<Arc<Threads>>,
}

/// Operations in the order they are computed, with memory for their intermediate results.
#[derive(Debug)]
pub(in crate::engine) struct Graph {
    raw: NonNull<sys::ggml_cgraph>,
    allocator: NonNull<sys::ggml_gallocr>,
}

// SAFETY: none of these is tied to a thread; ggml keeps no thread-local state about them.
unsafe impl Send for Tensor {}
// SAFETY: through `&Tensor` only its description is read, which nothing changes once its graph or
// buffer is made; data are read and written under the encoder's lock.
unsafe impl Sync for Tensor {}
// SAFETY: as for `Tensor`.
unsafe impl Send for Arena {}
// SAFETY: tensors are added only while an encoder is made, on one thread.
unsafe impl Sync for Arena {}
// SAFETY: as for `Tensor`.
unsafe impl Send for Buffer {}
// SAFETY: nothing can be done with `&Buffer`.
unsafe impl Sync for Buffer {}
// SAFETY: as for `Tensor`.
unsafe impl Send for Device {}
// SAFETY: as for `Tensor`.
unsafe impl Send for Graph {}

impl Tensor {
    /// Type of its elements.
    pub(in crate::engine) fn kind(self) -> sys::ggml_type {
        // SAFETY: the handle is valid (module documentation).
        unsafe { self.0.as_ref().type_ }
    }

    /// Elements along each dimension.
    pub(in crate::engine) fn shape(self) -> [i64; 4] {
        // SAFETY: the handle is valid (module documentation).
        unsafe { self.0.as_ref().ne }
    }

    /// Bytes from one element to the next along each dimension.
    pub(in crate::engine) fn strides(self) -> [usize; 4] {
        // SAFETY: the handle is valid.
        unsafe { self.0.as_ref().nb }
    }

    /// Bytes of its data.
    pub(in crate::engine) fn bytes(self) -> usize {
        // SAFETY: the handle is valid.
        unsafe { sys::ggml_nbytes(self.0.as_ptr()) }
    }

    /// ggml's pointer, valid as long as the arena.
    pub(super) fn raw(self) -> *mut sys::ggml_tensor {
        self.0.as_ptr()
    }

    /// Keeps a result's memory from being reused within its graph, so that it can be read.
    pub(in crate::engine) fn keep(self) {
        // SAFETY: the handle is valid.
        unsafe { sys::ggml_set_output(self.0.as_ptr()) }
    }

    /// Overwrites all its data, which have a place on a device.
    pub(in crate::engine) fn write_bytes(self, data: &[u8]) {
        assert_eq!(data.len(), self.bytes());
        // SAFETY: the handle is valid, the length fits, and the device copies before it returns.
        unsafe {
            sys::ggml_backend_tensor_set(
                self.0.as_ptr(),
                data.as_ptr().cast::<c_void>(),
                0,
                data.len(),
            );
        }
    }

    /// Overwrites all its floats.
    pub(in crate::engine) fn write(self, data: &[f32]) {
        assert_eq!(size_of_val(data), self.bytes());
        // SAFETY: as for `write_bytes`.
        unsafe {
            sys::ggml_backend_tensor_set(
                self.0.as_ptr(),
                data.as_ptr().cast::<c_void>(),
                0,
                size_of_val(data),
            );
        }
    }

    /// Reads all its floats.
    pub(in crate::engine) fn read(self, data: &mut [f32]) {
        assert_eq!(size_of_val(data), self.bytes());
        // SAFETY: as for `write_bytes`; any bytes are floats.
        unsafe {
            sys::ggml_backend_tensor_get(
                self.0.as_ptr(),
                data.as_mut_ptr().cast::<c_void>(),
                0,
                size_of_val(data),
            );
        }
    }
}

/// Operations that ggml only records. Each returns the tensor that will hold its result.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident ($($operand:ident),*) ($($number:ident : $type:ty),*) = $ggml:ident;)*) => {
        $(
            $(#[$doc])*
            #[allow(clippy::too_many_arguments, reason = "they are ggml's")]
            pub(in crate::engine) fn $name(&self, $($operand: Tensor,)* $($number: $type),*) -> Tensor {
                // SAFETY: arena and operands are valid; ggml checks that their shapes agree and
                // reads no data yet.
                let made = unsafe {
                    sys::$ggml(self.0.as_ptr(), $($operand.0.as_ptr(),)* $($number),*)
                };
                made_tensor(made)
            }
        )*
    };
}

impl Arena {
    /// Room for `tensors` tensors and graphs of as many operations.
    ///
    /// # Errors
    /// When there is no memory.
    pub(in crate::engine) fn new(tensors: usize) -> Result<Self, String> {
        // SAFETY: `no_alloc` without a buffer: ggml allocates its own for the descriptions alone.
        let raw = unsafe {
            sys::ggml_init(sys::ggml_init_params {
                mem_size: tensors * sys::ggml_tensor_overhead()
                    + sys::ggml_graph_overhead_custom(tensors, false),
                mem_buffer: std::ptr::null_mut(),
                no_alloc: true,
            })
        };
        NonNull::new(raw).map(Self).ok_or_else(no_memory)
    }

    /// Takes over an arena that ggml made.
    ///
    /// # Safety
    /// `raw` is a context that nobody else will free.
    pub(in crate::engine) unsafe fn from_raw(raw: NonNull<sys::ggml_context>) -> Self {
        Self(raw)
    }

    /// The tensor of that name.
    pub(in crate::engine) fn find(&self, name: &CStr) -> Option<Tensor> {
        // SAFETY: the arena is valid and the name NUL-terminated.
        NonNull::new(unsafe { sys::ggml_get_tensor(self.0.as_ptr(), name.as_ptr()) }).map(Tensor)
    }

    /// A tensor of element type `kind`, at most 4 dimensions.
    pub(in crate::engine) fn tensor(&self, kind: sys::ggml_type, shape: &[i64]) -> Tensor {
        let dimensions = i32::try_from(shape.len()).unwrap_or(i32::MAX);
        // SAFETY: ggml reads `dimensions` numbers, and checks that they are at most four.
        made_tensor(unsafe {
            sys::ggml_new_tensor(self.0.as_ptr(), kind, dimensions, shape.as_ptr())
        })
    }

    /// A tensor of floats.
    pub(in crate::engine) fn floats(&self, shape: &[i64]) -> Tensor {
        self.tensor(sys::GGML_TYPE_F32, shape)
    }

    /// A tensor of floats that is written before each run of a graph.
    pub(in crate::engine) fn input(&self, shape: &[i64]) -> Tensor {
        let tensor = self.floats(shape);
        // SAFETY: the tensor is valid.
        unsafe { sys::ggml_set_input(tensor.0.as_ptr()) }
        tensor
    }

    operations! {
        /// `weight`ᵀ · `x`: the inner dimension is the first of both.
        mul_mat(weight, x)() = ggml_mul_mat;
        /// The same with one of several matrices for each row of `x`, chosen by `ids`.
        mul_mat_id(weights, x, ids)() = ggml_mul_mat_id;
        /// Sum; `b` is repeated where it is smaller.
        add(a, b)() = ggml_add;
        /// Product of elements; `b` is repeated where it is smaller.
        mul(a, b)() = ggml_mul;
        /// Times a number.
        scale(a)(factor: f32) = ggml_scale;
        /// To mean 0 and variance 1 along the first dimension.
        norm(a)(epsilon: f32) = ggml_norm;
        /// To mean square 1 along the first dimension.
        rms_norm(a)(epsilon: f32) = ggml_rms_norm;
        /// Negative numbers to 0.
        relu(a)() = ggml_relu;
        /// x · sigmoid(x).
        silu(a)() = ggml_silu;
        /// 1 / (1 + e⁻ˣ).
        sigmoid(a)() = ggml_sigmoid;
        /// Hyperbolic tangent.
        tanh(a)() = ggml_tanh;
        /// Softmax along the first dimension.
        soft_max(a)() = ggml_soft_max;
        /// Into a range.
        clamp(a)(least: f32, most: f32) = ggml_clamp;
        /// `a` and then `b` along a dimension.
        concat(a, b)(dimension: i32) = ggml_concat;
        /// A copy whose elements lie one after the other.
        cont(a)() = ggml_cont;
        /// The first two dimensions exchanged, without a copy.
        transpose(a)() = ggml_transpose;
        /// Dimension i becomes dimension `axis_i`, without a copy.
        permute(a)(axis_0: i32, axis_1: i32, axis_2: i32, axis_3: i32) = ggml_permute;
        /// Another shape of the same elements, without a copy.
        reshape_2d(a)(ne0: i64, ne1: i64) = ggml_reshape_2d;
        /// Another shape of the same elements, without a copy.
        reshape_3d(a)(ne0: i64, ne1: i64, ne2: i64) = ggml_reshape_3d;
        /// Another shape of the same elements, without a copy.
        reshape_4d(a)(ne0: i64, ne1: i64, ne2: i64, ne3: i64) = ggml_reshape_4d;
        /// Some elements of `a`, without a copy; strides and offset in bytes.
        view_3d(a)(ne0: i64, ne1: i64, ne2: i64, nb1: usize, nb2: usize, offset: usize) = ggml_view_3d;
        /// Some elements of `a`, without a copy; strides and offset in bytes.
        view_4d(a)(ne0: i64, ne1: i64, ne2: i64, ne3: i64, nb1: usize, nb2: usize, nb3: usize, offset: usize) = ggml_view_4d;
        /// Zeros after each dimension.
        pad(a)(p0: i32, p1: i32, p2: i32, p3: i32) = ggml_pad;
        /// Two-dimensional convolution: strides, zeros at both ends, dilations.
        conv_2d(kernel, x)(s0: i32, s1: i32, p0: i32, p1: i32, d0: i32, d1: i32) = ggml_conv_2d;
        /// Convolution of each row of `x` with its row of `kernel`, without padding, transposed.
        ssm_conv(x, kernel)() = ggml_ssm_conv;
        /// Copies `a` into `to`; the result is `to`.
        copy(a, to)() = ggml_cpy;
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: made by `ggml_init`, freed once.
        unsafe { sys::ggml_free(self.0.as_ptr()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: made by `ggml_backend_alloc_ctx_tensors`, freed once; a buffer does not refer to
        // the backend that made it.
        unsafe { sys::ggml_backend_buffer_free(self.0.as_ptr()) }
    }
}

impl Device {
    /// The CPU with `threads`.
    ///
    /// # Errors
    /// When there is no memory.
    pub(in crate::engine) fn cpu(threads: &Arc<Threads>) -> Result<Self, String> {
        let mut device = Self::open(threads.cpu().device()).ok_or_else(no_memory)?;
        // SAFETY: both live, the backend is the CPU's, and the threads end after it.
        unsafe { (threads.cpu().set_threads)(device.backend.as_ptr(), threads.raw()) };
        device.threads = Some(Arc::clone(threads));
        Ok(device)
    }

    /// The GPU, if gemmad was built for one and the machine has it.
    pub(in crate::engine) fn gpu() -> Option<Self> {
        GPUS.into_iter().find_map(|kind| {
            // SAFETY: no preconditions.
            Self::open(unsafe { sys::ggml_backend_dev_by_type(kind) })
        })
    }

    /// Whether gemmad was built for a GPU and the machine has it.
    pub(in crate::engine) fn has_gpu() -> bool {
        GPUS.into_iter()
            // SAFETY: no preconditions.
            .any(|kind| !unsafe { sys::ggml_backend_dev_by_type(kind) }.is_null())
    }

    fn open(device: sys::ggml_backend_dev_t) -> Option<Self> {
        if device.is_null() {
            return None;
        }
        // SAFETY: devices live as long as the process; without parameters.
        let backend = unsafe { sys::ggml_backend_dev_init(device, std::ptr::null()) };
        NonNull::new(backend).map(|backend| Self {
            backend,
            threads: None,
        })
    }

    /// Gives every tensor of `arena` memory on the device.
    ///
    /// # Errors
    /// When there is no memory.
    pub(in crate::engine) fn place(&self, arena: &Arena) -> Result<Buffer, String> {
        // SAFETY: both are valid.
        let raw =
            unsafe { sys::ggml_backend_alloc_ctx_tensors(arena.0.as_ptr(), self.backend.as_ptr()) };
        NonNull::new(raw).map(Buffer).ok_or_else(no_memory)
    }

    /// A graph in `arena` of at most `most` operations that computes `results`, in that order, with all the memory
    /// it needs.
    ///
    /// # Errors
    /// When there is no memory, or the device cannot compute one of the operations.
    pub(in crate::engine) fn graph(
        &self,
        arena: &Arena,
        most: usize,
        results: &[Tensor],
    ) -> Result<Graph, String> {
        // SAFETY: the arena was made with room for a graph of `most` operations; ggml aborts if not.
        let raw = unsafe { sys::ggml_new_graph_custom(arena.0.as_ptr(), most, false) };
        let raw = NonNull::new(raw).ok_or_else(no_memory)?;
        for result in results {
            // SAFETY: both are valid.
            unsafe { sys::ggml_build_forward_expand(raw.as_ptr(), result.0.as_ptr()) }
        }
        self.check(raw)?;
        // SAFETY: the backend is valid.
        let allocator = unsafe {
            sys::ggml_gallocr_new(sys::ggml_backend_get_default_buffer_type(
                self.backend.as_ptr(),
            ))
        };
        let allocator = NonNull::new(allocator).ok_or_else(no_memory)?;
        let graph = Graph { raw, allocator };
        // SAFETY: both are valid.
        if unsafe { sys::ggml_gallocr_alloc_graph(allocator.as_ptr(), raw.as_ptr()) } {
            Ok(graph)
        } else {
            Err(no_memory())
        }
    }

    /// Checks that the device can compute every operation of a graph.
    fn check(&self, graph: NonNull<sys::ggml_cgraph>) -> Result<(), String> {
        for node in nodes(graph) {
            // SAFETY: node and backend are valid; names of operations are NUL-terminated and live as long
            // as the process.
            unsafe {
                if !sys::ggml_backend_supports_op(self.backend.as_ptr(), node) {
                    let name = CStr::from_ptr(sys::ggml_op_desc(node));
                    return Err(format!("it cannot compute {}", name.to_string_lossy()));
                }
            }
        }
        Ok(())
    }

    /// Computes a graph. Its inputs have been written; its arena and all it refers to are alive.
    ///
    /// # Errors
    /// When ggml fails.
    pub(in crate::engine) fn compute(&mut self, graph: &mut Graph) -> Result<(), String> {
        let backend = self.backend.as_ptr();
        let code = match &self.threads {
            // SAFETY: all are valid, the backend is the CPU's, and `&mut` makes this the only run of
            // both.
            Some(threads) => threads.run(|count| unsafe {
                (threads.cpu().set_thread_count)(backend, count);
                sys::ggml_backend_graph_compute(backend, graph.raw.as_ptr())
            }),
            // SAFETY: as above, but for the CPU.
            None => unsafe { sys::ggml_backend_graph_compute(backend, graph.raw.as_ptr()) },
        };
        match code {
            sys::GGML_STATUS_SUCCESS => Ok(()),
            code => Err(format!("ggml_backend_graph_compute returned {code}")),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once; its threads end later.
        unsafe { sys::ggml_backend_free(self.backend.as_ptr()) }
    }
}

#[cfg(test)]
impl Graph {
    /// Multiply-adds of its matrix products and convolutions: what a run costs.
    pub(in crate::engine) fn multiply_adds(&self) -> u64 {
        let nodes = nodes(self.raw);
        // SAFETY: nodes of a valid graph are valid, and so are their operands.
        nodes.map(|node| unsafe { multiply_adds(node) }).sum()
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by `Device::graph`, freed once; the graph itself lies in its arena.
        unsafe { sys::ggml_gallocr_free(self.allocator.as_ptr()) }
    }
}

/// The operations of a graph, which is valid as long as its arena.
fn nodes(graph: NonNull<sys::ggml_cgraph>) -> impl Iterator<Item = *mut sys::ggml_tensor> {
    // SAFETY: the graph is valid.
    let count = unsafe { sys::ggml_graph_n_nodes(graph.as_ptr()) };
    // SAFETY: as above; indices are below its number of nodes.
    (0..count).map(move |index| unsafe { sys::ggml_graph_node(graph.as_ptr(), index) })
}

/// Multiply-adds of one operation.
///
/// # Safety
/// `node` and its operands are valid.
#[cfg(test)]
pub(in crate::engine) unsafe fn multiply_adds(node: *const sys::ggml_tensor) -> u64 {
    // SAFETY: promised by the caller; these two operations have two operands.
    let inner = unsafe {
        match (*node).op {
            sys::GGML_OP_MUL_MAT => (*(*node).src[0]).ne[0],
            sys::GGML_OP_SSM_CONV => (*(*node).src[1]).ne[0],
            _ => 0,
        }
    };
    // SAFETY: promised by the caller.
    let elements: i64 = unsafe { (*node).ne.iter().product() };
    u64::try_from(elements * inner).unwrap_or(0)
}

fn made_tensor(raw: *mut sys::ggml_tensor) -> Tensor {
    // ggml aborts instead of returning null when an arena is full.
    Tensor(NonNull::new(raw).expect("ggml returns a tensor"))
}

fn no_memory() -> String {
    "out of memory".into()
}
