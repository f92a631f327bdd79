//! The weights of a projector file, on the device that computes with them.
//!
//! Only what is asked for is read, so the vision encoder in the same file costs nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::directory::{Directory, Entry};
use super::ggml::{Arena, Buffer, Device, Tensor};

/// Range that a "clippable" linear layer keeps its input and its output in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clamp {
    pub input: (f32, f32),
    pub output: (f32, f32),
}

/// A matrix and, in files that have it, its range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    pub weight: Tensor,
    pub clamp: Option<Clamp>,
}

impl Linear {
    /// The layer, applied to `x`.
    pub(super) fn apply(&self, arena: &Arena, x: Tensor) -> Tensor {
        let Some(Clamp { input, output }) = self.clamp else {
            return arena.mul_mat(self.weight, x);
        };
        let x = arena.clamp(x, input.0, input.1);
        arena.clamp(arena.mul_mat(self.weight, x), output.0, output.1)
    }
}

/// A file being read: tensors are asked for by name, then all are loaded at once.
pub(super) struct Reader {
    file: File,
    directory: Directory,
    arena: Arena,
    wanted: Vec<(Tensor, Entry)>,
}

/// Loaded weights. Keeps every handle that its reader gave out valid.
#[derive(Debug)]
pub(super) struct Weights {
    // The order of fields is the order of dropping: data first.
    _buffer: Buffer,
    _arena: Arena,
}

impl Reader {
    /// Opens a file to read at most `tensors` tensors of it.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn open(path: &Path, tensors: usize) -> Result<Self, String> {
        Ok(Self {
            file: File::open(path).map_err(|error| error.to_string())?,
            directory: Directory::open(path)?,
            arena: Arena::new(tensors)?,
            wanted: Vec::new(),
        })
    }

    /// The shape of a tensor in the file, the fastest dimension first.
    pub(super) fn shape(&self, name: &str) -> Option<[i64; 4]> {
        self.directory.find(name).map(|entry| entry.shape)
    }

    /// A tensor that must be there, of this shape (missing dimensions are 1).
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub(super) fn tensor(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, String> {
        self.optional(name, shape)?
            .ok_or_else(|| format!("it has no tensor {name}"))
    }

    /// A tensor that may be there.
    ///
    /// # Errors
    /// When it has another shape.
    pub(super) fn optional(&mut self, name: &str, shape: &[i64]) -> Result<Option<Tensor>, String> {
        let Some(entry) = self.directory.find(name) else {
            return Ok(None);
        };
        let mut wanted = [1; 4];
        wanted[..shape.len()].copy_from_slice(shape);
        if entry.shape != wanted {
            return Err(format!(
                "its tensor {name} has the shape {:?} instead of {wanted:?}",
                entry.shape
            ));
        }
        let tensor = self.arena.tensor(entry.kind, &entry.shape);
        self.wanted.push((tensor, entry));
        Ok(Some(tensor))
    }

    /// The matrix `name.weight` with its range.
    ///
    /// # Errors
    /// When it is missing or has another shape, or its range cannot be read.
    pub(super) fn linear(
        &mut self,
        name: &str,
        inputs: i64,
        outputs: i64,
    ) -> Result<Linear, String> {
        Ok(Linear {
            weight: self.tensor(&format!("{name}.weight"), &[inputs, outputs])?,
            clamp: self.clamp(name)?,
        })
    }

    /// The range of a linear layer: up to four numbers beside the matrix, of which missing ones
    /// bound nothing (clip.cpp, `clamp_info_map`).
    fn clamp(&self, name: &str) -> Result<Option<Clamp>, String> {
        let number = |bound: &str| self.scalar(&format!("{name}.{bound}"));
        let bounds = [
            number("input_min")?,
            number("input_max")?,
            number("output_min")?,
            number("output_max")?,
        ];
        if bounds == [None; 4] {
            return Ok(None);
        }
        let [input_min, input_max, output_min, output_max] = bounds;
        Ok(Some(Clamp {
            input: (input_min.unwrap_or(f32::MIN), input_max.unwrap_or(f32::MAX)),
            output: (
                output_min.unwrap_or(f32::MIN),
                output_max.unwrap_or(f32::MAX),
            ),
        }))
    }

    fn scalar(&self, name: &str) -> Result<Option<f32>, String> {
        let Some(entry) = self.directory.find(name) else {
            return Ok(None);
        };
        let mut bytes = [0; 4];
        if entry.bytes != bytes.len() {
            return Err(format!("its tensor {name} is not one number"));
        }
        self.read(&entry, &mut bytes)?;
        Ok(Some(f32::from_le_bytes(bytes)))
    }

    /// Reads everything asked for onto `device`.
    ///
    /// # Errors
    /// When there is no memory or the file ends early.
    pub(super) fn load(self, device: &Device) -> Result<Weights, String> {
        let buffer = device.place(&self.arena)?;
        let mut bytes = Vec::new();
        for (tensor, entry) in &self.wanted {
            bytes.resize(entry.bytes, 0);
            self.read(entry, &mut bytes)?;
            tensor.write_bytes(&bytes);
        }
        Ok(Weights {
            _buffer: buffer,
            _arena: self.arena,
        })
    }

    fn read(&self, entry: &Entry, bytes: &mut [u8]) -> Result<(), String> {
        self.file
            .read_exact_at(bytes, entry.offset)
            .map_err(|error| format!("its weights cannot be read: {error}"))
    }
}
