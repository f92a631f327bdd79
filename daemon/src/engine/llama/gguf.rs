//! A first look at a GGUF file, before llama.cpp is trusted with it.
//!
//! llama.cpp answers a wrong file with "failed to load" at best. This module tells apart a missing file, a
//! file that is no GGUF, and a GGUF of the wrong kind. It reads only the header.

use std::fs::{File, FileType};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use gemmad_api::text;
use llama_cpp_2::gguf::GgufContext;
use llama_cpp_sys_2 as sys;
use rustix::fs::{Mode, OFlags};

use super::backend;
use crate::engine::LoadError;

/// What a GGUF file is for, by its `general.architecture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Kind {
    /// A text model of an architecture gemmad knows how to talk to.
    Text,
    /// A multimodal projector.
    Projector,
}

impl Kind {
    fn architecture(self) -> &'static str {
        match self {
            Self::Text => "gemma4",
            Self::Projector => "clip",
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
            Self::Text => "a Gemma 4 text model (architecture gemma4)",
            Self::Projector => "a multimodal projector (architecture clip) with an audio encoder",
        }
    }
}

/// The metadata of a GGUF file of a known kind.
pub(in crate::engine) struct Header {
    gguf: GgufContext,
}

impl Header {
    /// Checks that `path` can be read, is GGUF, and is of `kind`.
    ///
    /// # Errors
    /// The first of these that fails, naming the file.
    pub(in crate::engine) fn open(path: &Path, kind: Kind) -> Result<Self, LoadError> {
        check_magic(path)?;
        backend::start();
        let gguf = GgufContext::from_file(path).ok_or_else(|| LoadError::Refused {
            path: path.into(),
            why: format!(
                "its header is damaged or cut short ({}); download it again",
                backend::take_errors()
            ),
        })?;
        let header = Self { gguf };
        let architecture = header.string("general.architecture").unwrap_or("unknown");
        if architecture != kind.architecture() {
            return Err(LoadError::WrongKind {
                path: path.into(),
                key: kind.key(),
                found: format!("a file of architecture {}", text::line(architecture, 40)),
                wanted: kind.wanted(),
            });
        }
        Ok(header)
    }

    /// The text under `key`, if there is one.
    pub(in crate::engine) fn string(&self, key: &str) -> Option<&str> {
        let index = self.index(key, sys::GGUF_TYPE_STRING)?;
        self.gguf.val_str(index)
    }

    /// The `uint32` under `key`, if there is one.
    pub(in crate::engine) fn u32(&self, key: &str) -> Option<u32> {
        let index = self.index(key, sys::GGUF_TYPE_UINT32)?;
        Some(self.gguf.val_u32(index))
    }

    /// The index of `key`, if its value is of type `kind`. llama.cpp aborts the process when a value is read
    /// as another type than it has.
    fn index(&self, key: &str, kind: sys::gguf_type) -> Option<i64> {
        let index = self.gguf.find_key(key);
        (index >= 0 && self.gguf.kv_type(index) == kind).then_some(index)
    }
}

/// Checks that `path` is a file that begins like GGUF. It is opened without blocking, because opening a pipe
/// would wait for a writer.
fn check_magic(path: &Path) -> Result<(), LoadError> {
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
        Ok(()) if magic == *b"GGUF" => Ok(()),
        Err(source) if source.kind() != ErrorKind::UnexpectedEof => Err(unreadable(source)),
        _ => Err(LoadError::NotGguf { path: path.into() }),
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
