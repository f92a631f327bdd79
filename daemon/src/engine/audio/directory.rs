//! The tensors of a GGUF file, and where in the file their data lie.

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use crate::engine::ggml::tensors::Arena;

/// The directory of the tensors of a GGUF file.
#[derive(Debug)]
pub(super) struct Directory {
    gguf: NonNull<sys::gguf_context>,
    described: Arena,
}

impl Directory {
    /// Reads the directory of the file at `path`.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let name = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| "its name contains a NUL byte".to_owned())?;
        let mut described = std::ptr::null_mut();
        let params = sys::gguf_init_params {
            no_alloc: true,
            ctx: &raw mut described,
        };
        // SAFETY: the name is NUL-terminated; `described` is written before the call returns.
        let gguf = unsafe { sys::gguf_init_from_file(name.as_ptr(), params) };
        let gguf = NonNull::new(gguf).ok_or_else(|| "its header is damaged".to_owned())?;
        let Some(described) = NonNull::new(described) else {
            // SAFETY: made above, freed once.
            unsafe { sys::gguf_free(gguf.as_ptr()) };
            return Err("it describes no tensors".into());
        };
        // SAFETY: made by the call above for us to free.
        let described = unsafe { Arena::from_raw(described) };
        Ok(Self { gguf, described })
    }

    /// How many tensors the file has.
    pub(super) fn len(&self) -> usize {
        // SAFETY: the context is valid.
        let count = unsafe { sys::gguf_get_n_tensors(self.gguf.as_ptr()) };
        usize::try_from(count).unwrap_or(0)
    }

    /// Element type, shape, and place of the data in the file: offset and bytes.
    pub(super) fn find(&self, name: &str) -> Option<Entry> {
        let name = CString::new(name).ok()?;
        let tensor = self.described.find(&name)?;
        // SAFETY: the context is valid, the name NUL-terminated, and the index below the number of
        // tensors, because one of that name is there.
        let offset = unsafe {
            let index = sys::gguf_find_tensor(self.gguf.as_ptr(), name.as_ptr());
            sys::gguf_get_data_offset(self.gguf.as_ptr())
                + sys::gguf_get_tensor_offset(self.gguf.as_ptr(), index)
        };
        Some(Entry {
            kind: tensor.kind(),
            shape: tensor.shape(),
            offset: offset as u64,
            bytes: tensor.bytes(),
        })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: made by `gguf_init_from_file`, freed once.
        unsafe { sys::gguf_free(self.gguf.as_ptr()) }
    }
}

/// One tensor of a GGUF file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub kind: sys::ggml_type,
    pub shape: [i64; 4],
    pub offset: u64,
    pub bytes: usize,
}
