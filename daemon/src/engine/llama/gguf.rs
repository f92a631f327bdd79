//! The header of a GGUF file: its metadata, and where in the file its tensors lie.
//!
//! It is a first look at a file, before llama.cpp is trusted with it: llama.cpp answers a wrong one with "failed to load"
//! at best. This module tells apart a missing file, a file that is no GGUF, and a GGUF of the wrong kind.

use std::ffi::{CStr, CString};
use std::fs::{File, FileType};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use gemmad_text as text;
use llama_cpp_sys_2 as sys;
use rustix::fs::{Mode, OFlags};

use super::backend;
use crate::engine::LoadError;
use crate::engine::ggml::tensors::Arena;

/// What a GGUF file is for, by its `general.architecture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Kind {
    /// A text model of an architecture gemmad knows how to talk to.
    Text,
    /// A multimodal projector.
    Projector,
}

impl Kind {
    fn architectures(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["gemma4", "gemma3n", "gemma3"],
            Self::Projector => &["clip"],
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Projector => "mmproj",
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Text => "a text model of Gemma (architecture gemma4, gemma3n or gemma3)",
            Self::Projector => "a multimodal projector (architecture clip) with an audio encoder",
        }
    }
}

/// The header of a GGUF file of a known kind.
#[derive(Debug)]
pub(in crate::engine) struct Header {
    file: File,
    gguf: NonNull<sys::gguf_context>,
    tensors: Arena,
}

/// One tensor of a GGUF file.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Entry {
    pub kind: sys::ggml_type,
    /// The fastest dimension first.
    pub shape: [i64; 4],
    /// Position of its data in the file, in bytes.
    pub offset: u64,
    /// Length of its data.
    pub bytes: usize,
}

impl Header {
    /// Checks that `path` can be read, is GGUF, and is of `kind`.
    ///
    /// # Errors
    /// The first of these that fails, naming the file.
    pub(in crate::engine) fn open(path: &Path, kind: Kind) -> Result<Self, LoadError> {
        let file = open(path)?;
        backend::start();
        let header = Self::read(file, path).ok_or_else(|| damaged(path))?;
        if header.u16("split.no").is_some_and(|part| part > 0) {
            return Err(LoadError::LaterPart {
                path: path.into(),
                key: kind.key(),
            });
        }
        let architecture = header.architecture();
        if !kind.architectures().contains(&architecture) {
            return Err(LoadError::WrongKind {
                path: path.into(),
                key: kind.key(),
                found: format!("a file of architecture {}", text::line(architecture, 40)),
                wanted: kind.wanted(),
            });
        }
        Ok(header)
    }

    fn read(file: File, path: &Path) -> Option<Self> {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).ok()?;
        let mut tensors = ptr::null_mut();
        let params = sys::gguf_init_params {
            no_alloc: true,
            ctx: &raw mut tensors,
        };
        // SAFETY: the path is NUL-terminated; `tensors` is written before the call returns.
        let gguf = NonNull::new(unsafe { sys::gguf_init_from_file(path.as_ptr(), params) })?;
        let Some(tensors) = NonNull::new(tensors) else {
            // SAFETY: made above, freed once.
            unsafe { sys::gguf_free(gguf.as_ptr()) };
            return None;
        };
        // SAFETY: made by the call above for us to free.
        let tensors = unsafe { Arena::from_raw(tensors) };
        Some(Self {
            file,
            gguf,
            tensors,
        })
    }

    /// The header of a later part of a split model. llama.cpp checks that it belongs to the first.
    ///
    /// # Errors
    /// When it cannot be read or is no GGUF, naming the file.
    pub(in crate::engine) fn of_part(path: &Path) -> Result<Self, LoadError> {
        Self::read(open(path)?, path).ok_or_else(|| damaged(path))
    }

    /// The file.
    pub(in crate::engine) fn file(&self) -> &File {
        &self.file
    }

    /// The architecture of its model.
    pub(in crate::engine) fn architecture(&self) -> &str {
        self.string("general.architecture").unwrap_or("unknown")
    }

    /// The text under `key`, if there is one.
    pub(in crate::engine) fn string(&self, key: &str) -> Option<&str> {
        let index = self.index(key, sys::GGUF_TYPE_STRING)?;
        // SAFETY: the value is a string, which is NUL-terminated and lives as long as the header.
        let text = unsafe { CStr::from_ptr(sys::gguf_get_val_str(self.gguf.as_ptr(), index)) };
        text.to_str().ok()
    }

    /// The `uint32` under `key`, if there is one.
    pub(in crate::engine) fn u32(&self, key: &str) -> Option<u32> {
        let index = self.index(key, sys::GGUF_TYPE_UINT32)?;
        // SAFETY: the value is a `uint32`.
        Some(unsafe { sys::gguf_get_val_u32(self.gguf.as_ptr(), index) })
    }

    /// The numbers under `key`, whether one or an array of them, `int32`, `uint32` or `bool`; empty if there are none.
    pub(in crate::engine) fn numbers(&self, key: &str) -> Vec<u32> {
        if let Some(number) = self.u32(key) {
            return vec![number];
        }
        let Some(index) = self.index(key, sys::GGUF_TYPE_ARRAY) else {
            return Vec::new();
        };
        let gguf = self.gguf.as_ptr();
        // SAFETY: the value is an array, whose elements lie one after the other, and the kind of element is checked.
        unsafe {
            let length = sys::gguf_get_arr_n(gguf, index);
            match sys::gguf_get_arr_type(gguf, index) {
                sys::GGUF_TYPE_INT32 | sys::GGUF_TYPE_UINT32 => {
                    let data = sys::gguf_get_arr_data(gguf, index).cast::<u32>();
                    (0..length)
                        .map(|at| data.add(at).read_unaligned())
                        .collect()
                }
                sys::GGUF_TYPE_BOOL => {
                    let data = sys::gguf_get_arr_data(gguf, index).cast::<u8>();
                    (0..length)
                        .map(|at| u32::from(data.add(at).read()))
                        .collect()
                }
                _ => Vec::new(),
            }
        }
    }

    /// The texts under `key`, not always UTF-8; none if there is no list of texts.
    pub(in crate::engine) fn strings(&self, key: &str) -> impl Iterator<Item = &CStr> {
        let gguf = self.gguf.as_ptr();
        let list = self.list(key, sys::GGUF_TYPE_STRING);
        let texts = list.map(move |(index, count)| {
            // SAFETY: the value is an array of `count` strings, which are NUL-terminated and live as long as the header.
            (0..count)
                .map(move |nth| unsafe { CStr::from_ptr(sys::gguf_get_arr_str(gguf, index, nth)) })
        });
        texts.into_iter().flatten()
    }

    /// The `int32`s under `key`; none if there is no list of them.
    pub(in crate::engine) fn i32s(&self, key: &str) -> &[i32] {
        let Some((index, count)) = self.list(key, sys::GGUF_TYPE_INT32) else {
            return &[];
        };
        // SAFETY: the value is an array of `count` aligned `int32`s, which lives as long as the header.
        unsafe {
            let numbers = sys::gguf_get_arr_data(self.gguf.as_ptr(), index);
            std::slice::from_raw_parts(numbers.cast(), count)
        }
    }

    /// The index of `key` and the length of its value, if that is a list of `kind` and not empty.
    fn list(&self, key: &str, kind: sys::gguf_type) -> Option<(i64, usize)> {
        let (gguf, index) = (self.gguf.as_ptr(), self.index(key, sys::GGUF_TYPE_ARRAY)?);
        // SAFETY: the value is an array.
        let (found, count) = unsafe {
            (
                sys::gguf_get_arr_type(gguf, index),
                sys::gguf_get_arr_n(gguf, index),
            )
        };
        (found == kind && count > 0).then_some((index, count))
    }

    /// The `uint16` under `key`, if there is one.
    fn u16(&self, key: &str) -> Option<u16> {
        let index = self.index(key, sys::GGUF_TYPE_UINT16)?;
        // SAFETY: the value is a `uint16`.
        Some(unsafe { sys::gguf_get_val_u16(self.gguf.as_ptr(), index) })
    }

    /// Whether the value under `key` is true.
    pub(in crate::engine) fn flag(&self, key: &str) -> bool {
        let index = self.index(key, sys::GGUF_TYPE_BOOL);
        // SAFETY: the value is a `bool`.
        index.is_some_and(|index| unsafe { sys::gguf_get_val_bool(self.gguf.as_ptr(), index) })
    }

    /// The index of `key`, if its value is of type `kind`. llama.cpp aborts the process when a value is read
    /// as another type than it has.
    fn index(&self, key: &str, kind: sys::gguf_type) -> Option<i64> {
        let (gguf, key) = (self.gguf.as_ptr(), CString::new(key).ok()?);
        // SAFETY: the header is valid and the key NUL-terminated.
        let index = unsafe { sys::gguf_find_key(gguf, key.as_ptr()) };
        // SAFETY: an index from 0 is that of a key.
        (index >= 0 && unsafe { sys::gguf_get_kv_type(gguf, index) } == kind).then_some(index)
    }

    /// The number of tensors.
    pub(in crate::engine) fn tensors(&self) -> usize {
        // SAFETY: the header is valid.
        let count = unsafe { sys::gguf_get_n_tensors(self.gguf.as_ptr()) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The names of all tensors that have one in UTF-8.
    pub(in crate::engine) fn names(&self) -> impl Iterator<Item = &str> {
        (0..self.tensors()).filter_map(|index| {
            // SAFETY: the index is below the number of tensors; names are NUL-terminated and live as long as the header.
            let name = unsafe {
                let name =
                    sys::gguf_get_tensor_name(self.gguf.as_ptr(), index.cast_signed() as i64);
                CStr::from_ptr(name)
            };
            name.to_str().ok()
        })
    }

    /// The tensor of that name, if there is one.
    pub(in crate::engine) fn tensor(&self, name: &str) -> Option<Entry> {
        let (gguf, name) = (self.gguf.as_ptr(), CString::new(name).ok()?);
        let tensor = self.tensors.find(&name)?;
        // SAFETY: the header is valid, the name NUL-terminated, and the index below the number of
        // tensors, because one of that name is there.
        let offset = unsafe {
            let index = sys::gguf_find_tensor(gguf, name.as_ptr());
            sys::gguf_get_data_offset(gguf) + sys::gguf_get_tensor_offset(gguf, index)
        };
        Some(Entry {
            kind: tensor.kind(),
            shape: tensor.shape(),
            offset: offset as u64,
            bytes: tensor.bytes(),
        })
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        // SAFETY: made by `gguf_init_from_file`, freed once.
        unsafe { sys::gguf_free(self.gguf.as_ptr()) }
    }
}

/// Opens `path`, which must be a file that begins like GGUF. It is opened without blocking, because opening a pipe
/// would wait for a writer.
fn open(path: &Path) -> Result<File, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: path.into(),
        source,
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty());
    let mut file = File::from(file.map_err(|error| unreadable(error.into()))?);
    let kind = file.metadata().map_err(unreadable)?.file_type();
    if !kind.is_file() {
        return Err(LoadError::NotAFile {
            path: path.into(),
            found: describe(kind),
        });
    }
    let mut magic = [0; 4];
    match file.read_exact(&mut magic) {
        Ok(()) if magic == *b"GGUF" => Ok(file),
        Err(source) if source.kind() != ErrorKind::UnexpectedEof => Err(unreadable(source)),
        _ => Err(LoadError::NotGguf { path: path.into() }),
    }
}

fn damaged(path: &Path) -> LoadError {
    LoadError::Refused {
        path: path.into(),
        why: format!(
            "its header is damaged or cut short ({}); download it again",
            backend::take_errors()
        ),
    }
}

fn describe(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else {
        "a device or socket"
    }
}
