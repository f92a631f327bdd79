//! The CPU as ggml computes with it.
//!
//! Its functions are found through ggml's registry instead of linked by name, because a portable build
//! (feature `portable`) contains no CPU backend. It has a folder of them, each compiled for another
//! generation of processors, and ggml loads the best for this machine.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

use llama_cpp_sys_2 as sys;

use crate::engine::llama::backend;

type NewThreads =
    unsafe extern "C" fn(*mut sys::ggml_threadpool_params) -> *mut sys::ggml_threadpool;
type FreeThreads = unsafe extern "C" fn(*mut sys::ggml_threadpool);
type SetThreads = unsafe extern "C" fn(sys::ggml_backend_t, *mut sys::ggml_threadpool);
type SetThreadCount = unsafe extern "C" fn(sys::ggml_backend_t, i32);
type ExtraBuffers =
    unsafe extern "C" fn(sys::ggml_backend_dev_t) -> *const sys::ggml_backend_buffer_type_t;
type Features = unsafe extern "C" fn(sys::ggml_backend_reg_t) -> *mut sys::ggml_backend_feature;

/// Functions of the CPU backend (ggml-cpu.h).
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Cpu {
    device: sys::ggml_backend_dev_t,
    /// `ggml_threadpool_new`.
    pub new_threads: NewThreads,
    /// `ggml_threadpool_free`.
    pub free_threads: FreeThreads,
    /// `ggml_backend_cpu_set_threadpool`; the backend must be the CPU's.
    pub set_threads: SetThreads,
    /// `ggml_backend_cpu_set_n_threads`; the backend must be the CPU's.
    pub set_thread_count: SetThreadCount,
    /// `ggml_backend_dev_get_extra_bufts`; the device must be the CPU.
    pub extra_buffers: ExtraBuffers,
    features: Features,
}

// SAFETY: a device and functions, which live as long as the process and belong to no thread.
unsafe impl Send for Cpu {}
// SAFETY: as for `Send`.
unsafe impl Sync for Cpu {}

impl Cpu {
    /// The CPU of this machine.
    ///
    /// # Errors
    /// When a portable build finds none of its libraries, or one of another version.
    pub(in crate::engine) fn get() -> Result<&'static Self, String> {
        static CPU: OnceLock<Result<Cpu, String>> = OnceLock::new();
        CPU.get_or_init(Self::find).as_ref().map_err(Clone::clone)
    }

    fn find() -> Result<Self, String> {
        backend::start();
        // SAFETY: no preconditions.
        let device = unsafe { sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU) };
        if device.is_null() {
            return Err("ggml has no CPU backend; install gemmad again".into());
        }
        let function = |name: &CStr| -> Result<NonNull<c_void>, String> {
            // SAFETY: the device lives as long as the process; the name is NUL-terminated.
            let found = unsafe {
                let registry = sys::ggml_backend_dev_backend_reg(device);
                sys::ggml_backend_reg_get_proc_address(registry, name.as_ptr())
            };
            NonNull::new(found).ok_or_else(|| {
                format!(
                    "ggml's CPU backend has no {}; install gemmad again",
                    name.to_string_lossy()
                )
            })
        };
        let new_threads = function(c"ggml_threadpool_new")?;
        let free_threads = function(c"ggml_threadpool_free")?;
        let set_threads = function(c"ggml_backend_cpu_set_threadpool")?;
        let set_thread_count = function(c"ggml_backend_set_n_threads")?;
        let extra_buffers = function(c"ggml_backend_dev_get_extra_bufts")?;
        let features = function(c"ggml_backend_get_features")?;
        // SAFETY: llama.cpp gives these names to functions of these types (ggml-cpu.cpp, in
        // `ggml_backend_cpu_get_proc_address`, with ggml-cpu.h and ggml-backend.h).
        Ok(unsafe {
            use std::mem::transmute;
            Self {
                device,
                new_threads: transmute::<NonNull<c_void>, NewThreads>(new_threads),
                free_threads: transmute::<NonNull<c_void>, FreeThreads>(free_threads),
                set_threads: transmute::<NonNull<c_void>, SetThreads>(set_threads),
                set_thread_count: transmute::<NonNull<c_void>, SetThreadCount>(set_thread_count),
                extra_buffers: transmute::<NonNull<c_void>, ExtraBuffers>(extra_buffers),
                features: transmute::<NonNull<c_void>, Features>(features),
            }
        })
    }

    /// ggml's device for the CPU.
    pub(in crate::engine) fn device(&self) -> sys::ggml_backend_dev_t {
        self.device
    }

    /// The instruction sets beyond the baseline of the architecture that the matrix kernels use, such as
    /// `DOTPROD MATMUL_INT8`.
    pub(in crate::engine) fn features(&self) -> String {
        let mut names = Vec::new();
        // SAFETY: ggml returns an array that lives as long as the process and ends with a null name;
        // names and values are NUL-terminated.
        unsafe {
            let mut feature = (self.features)(sys::ggml_backend_dev_backend_reg(self.device));
            while !(*feature).name.is_null() {
                if CStr::from_ptr((*feature).value) == c"1" {
                    names.push(CStr::from_ptr((*feature).name).to_string_lossy());
                }
                feature = feature.add(1);
            }
        }
        names.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_says_which_instructions_it_computes_with() {
        let features = Cpu::get().unwrap().features();
        let expected = if cfg!(target_arch = "x86_64") {
            "AVX2"
        } else {
            "NEON"
        };
        assert!(
            features.split(' ').any(|name| name == expected),
            "{features}"
        );
    }
}
