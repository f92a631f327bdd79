//! The weights of a projector file, on the device that computes with them.
//!
//! Only the tensors asked for are read, so the vision encoder in the same file costs nothing.

use std::ffi::CStr;
use std::os::unix::fs::FileExt;

use llama_cpp_sys_2 as sys;

use crate::config;
use crate::engine::ggml::tensors::{Arena, Buffer, Device, Tensor};
use crate::engine::llama::gguf::{Entry, Header};
use crate::engine::stop::Stop;

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

/// How the large matrices are held in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::engine) enum Precision {
    /// As in the file.
    #[default]
    Stored,
    /// In 8 bits, with a scale for each 32 numbers: half the memory of 16 bits, and faster where memory
    /// is the limit.
    Q8,
}

impl From<config::EncoderWeights> for Precision {
    fn from(weights: config::EncoderWeights) -> Self {
        match weights {
            config::EncoderWeights::Stored => Self::Stored,
            config::EncoderWeights::Q8 => Self::Q8,
        }
    }
}

/// How a tensor is held in memory, whatever it is in the file.
#[derive(Debug, Clone, Copy)]
enum Hold {
    /// As 32-bit floats, the only type that ggml adds and scales by everywhere.
    Floats,
    /// As 16-bit floats if it is stored so, else as 32-bit ones: the types that ggml convolves with.
    Kernel,
    /// As a matrix to multiply by.
    Matrix(Precision),
}

/// A file being read: tensors are asked for by name, then all are loaded at once.
pub(super) struct Reader<'a> {
    header: &'a Header,
    /// Bytes of the file.
    length: u64,
    arena: Arena,
    precision: Precision,
    wanted: Vec<(Tensor, Entry)>,
    stop: Stop,
}

/// Loaded weights. Keeps every handle that its reader gave out valid.
#[derive(Debug)]
pub(super) struct Weights {
    // The order of fields is the order of dropping: data first.
    _buffer: Buffer,
    _arena: Arena,
}

impl<'a> Reader<'a> {
    /// Reads at most `tensors` tensors of the file with this header, each once, until `stop` is set.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn new(
        header: &'a Header,
        tensors: usize,
        precision: Precision,
        stop: &Stop,
    ) -> Result<Self, String> {
        let file = header.file().metadata();
        // A header may promise more layers than there is memory for.
        let tensors = tensors.min(header.tensors());
        Ok(Self {
            header,
            length: file.map_err(|error| error.to_string())?.len(),
            arena: Arena::new(tensors)?,
            precision,
            wanted: Vec::new(),
            stop: stop.clone(),
        })
    }

    /// The shape of a tensor in the file, the fastest dimension first.
    pub(super) fn shape(&self, name: &str) -> Option<[i64; 4]> {
        self.header.tensor(name).map(|entry| entry.shape)
    }

    /// A tensor of floats that must be in the file, of this shape (missing dimensions are 1).
    ///
    /// # Errors
    /// When it is missing, has another shape, or cannot be read.
    pub(super) fn numbers(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, String> {
        there(name, self.optional(name, shape)?)
    }

    /// A tensor of floats that may be in the file.
    ///
    /// # Errors
    /// When it has another shape or cannot be read.
    pub(super) fn optional(&mut self, name: &str, shape: &[i64]) -> Result<Option<Tensor>, String> {
        self.held(name, shape, Hold::Floats)
    }

    /// The kernel of a convolution.
    ///
    /// # Errors
    /// When it is missing, has another shape, or cannot be read.
    pub(super) fn kernel(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, String> {
        there(name, self.held(name, shape, Hold::Kernel)?)
    }

    /// A matrix without a range.
    ///
    /// # Errors
    /// When it is missing, has another shape, or cannot be read.
    pub(super) fn matrix(&mut self, name: &str, shape: &[i64; 2]) -> Result<Tensor, String> {
        there(name, self.held(name, shape, Hold::Matrix(self.precision))?)
    }

    fn held(&mut self, name: &str, shape: &[i64], hold: Hold) -> Result<Option<Tensor>, String> {
        let Some(entry) = self.header.tensor(name) else {
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
        self.check(name, &entry)?;
        let kind = match hold {
            Hold::Kernel if entry.kind == sys::GGML_TYPE_F16 => sys::GGML_TYPE_F16,
            Hold::Floats | Hold::Kernel => sys::GGML_TYPE_F32,
            Hold::Matrix(Precision::Q8) if can_be_q8(&entry) => sys::GGML_TYPE_Q8_0,
            Hold::Matrix(_) => entry.kind,
        };
        let tensor = self.arena.tensor(kind, &entry.shape);
        self.wanted.push((tensor, entry));
        Ok(Some(tensor))
    }

    /// Checks that a tensor is not empty, lies within the file, and holds numbers that can be read.
    fn check(&self, name: &str, entry: &Entry) -> Result<(), String> {
        if entry.bytes == 0 {
            return Err(format!("its tensor {name} is empty"));
        }
        let end = entry.offset.checked_add(entry.bytes as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(format!(
                "it ends before its tensor {name} does; download it again"
            ));
        }
        if !is_read(entry.kind) {
            return Err(format!(
                "its tensor {name} holds {}, which is not for weights",
                name_of(entry.kind)
            ));
        }
        Ok(())
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
        let matrix = format!("{name}.weight");
        Ok(Linear {
            weight: self.matrix(&matrix, &[inputs, outputs])?,
            clamp: self.clamp(name)?,
        })
    }

    /// The range of a linear layer: up to four numbers beside the matrix. A missing one bounds nothing
    /// (clip.cpp, `clamp_info_map`).
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
        let Some(entry) = self.header.tensor(name) else {
            return Ok(None);
        };
        let mut bytes = [0; 4];
        if (entry.kind, entry.bytes) != (sys::GGML_TYPE_F32, bytes.len()) {
            return Err(format!("its tensor {name} is not one number"));
        }
        self.read(&entry, &mut bytes)?;
        Ok(Some(f32::from_le_bytes(bytes)))
    }

    /// Reads everything asked for onto `device`.
    ///
    /// # Errors
    /// When there is no memory, the file ends early, or loading is to stop.
    pub(super) fn load(self, device: &Device) -> Result<Weights, String> {
        let buffer = device.place(&self.arena)?;
        let mut bytes = Vec::new();
        for (tensor, entry) in &self.wanted {
            if self.stop.is_said() {
                return Err("loading was stopped".into());
            }
            bytes.resize(entry.bytes, 0);
            self.read(entry, &mut bytes)?;
            match tensor.kind() {
                kind if kind == entry.kind => tensor.write_bytes(&bytes),
                sys::GGML_TYPE_F32 => tensor.write(&floats(entry, &bytes)),
                _ => tensor.write_bytes(&quantised(entry, &floats(entry, &bytes))),
            }
        }
        Ok(Weights {
            _buffer: buffer,
            _arena: self.arena,
        })
    }

    fn read(&self, entry: &Entry, bytes: &mut [u8]) -> Result<(), String> {
        let file = self.header.file();
        file.read_exact_at(bytes, entry.offset)
            .map_err(|error| format!("its weights cannot be read: {error}"))
    }
}

/// Bytes that the weights of the audio encoder in the file with this header take in memory.
pub(in crate::engine) fn bytes(header: &Header, precision: Precision) -> u64 {
    let is_heard = |name: &&str| name.starts_with("a.") || name.starts_with("mm.a.");
    let entries = header
        .names()
        .filter(is_heard)
        .filter_map(|it| header.tensor(it));
    let bytes = entries.map(|entry| match precision {
        Precision::Q8 if can_be_q8(&entry) && entry.shape[1] > 1 => {
            row_size(entry.shape[0]) * rows(&entry)
        }
        _ => entry.bytes,
    });
    bytes.sum::<usize>() as u64
}

/// Whether a matrix is stored in more than 8 bits, and its rows can be cut into blocks of 32.
fn can_be_q8(entry: &Entry) -> bool {
    let is_float = [sys::GGML_TYPE_F32, sys::GGML_TYPE_F16, sys::GGML_TYPE_BF16];
    is_float.contains(&entry.kind) && entry.shape[0] % 32 == 0
}

/// A tensor that must be in the file.
fn there(name: &str, tensor: Option<Tensor>) -> Result<Tensor, String> {
    tensor.ok_or_else(|| format!("it has no tensor {name}"))
}

/// Whether ggml can convert a type to floats. It can for all types that weights are stored in, and not for
/// integers.
fn is_read(kind: sys::ggml_type) -> bool {
    kind == sys::GGML_TYPE_F32 || to_float(kind).is_some()
}

fn to_float(kind: sys::ggml_type) -> sys::ggml_to_float_t {
    // SAFETY: the reader of the file's header has checked that this is a type of ggml's.
    unsafe { (*sys::ggml_get_type_traits(kind)).to_float }
}

/// ggml's name of a type.
fn name_of(kind: sys::ggml_type) -> String {
    // SAFETY: as for `to_float`; the name is static.
    let name = unsafe { CStr::from_ptr(sys::ggml_type_name(kind)) };
    name.to_string_lossy().into_owned()
}

/// The numbers of a tensor of a type that [`is_read`].
fn floats(entry: &Entry, bytes: &[u8]) -> Vec<f32> {
    let Some(to_float) = to_float(entry.kind) else {
        let numbers = bytes.as_chunks().0.iter();
        return numbers.map(|it| f32::from_le_bytes(*it)).collect();
    };
    let count: i64 = entry.shape.iter().product();
    let mut numbers = vec![0.0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: `bytes` are `count` numbers of the entry's type, in any alignment that x86 and ARM can read;
    // `numbers` has room for as many.
    unsafe { to_float(bytes.as_ptr().cast(), numbers.as_mut_ptr(), count) }
    numbers
}

/// Bytes of a row of so many numbers in 8 bits.
fn row_size(width: i64) -> usize {
    // SAFETY: plain arithmetic.
    unsafe { sys::ggml_row_size(sys::GGML_TYPE_Q8_0, width) }
}

/// Number of rows of a matrix.
fn rows(entry: &Entry) -> usize {
    let [_, rows @ ..] = entry.shape;
    usize::try_from(rows.iter().product::<i64>()).unwrap_or(0)
}

/// A matrix in 8 bits, rounded as ggml does.
fn quantised(entry: &Entry, numbers: &[f32]) -> Vec<u8> {
    let [width, ..] = entry.shape;
    let rows = rows(entry);
    let mut quantised = vec![0; row_size(width) * rows];
    // SAFETY: `rows` rows of `width` numbers, and room for as many quantised rows.
    unsafe {
        sys::ggml_quantize_chunk(
            sys::GGML_TYPE_Q8_0,
            numbers.as_ptr(),
            quantised.as_mut_ptr().cast(),
            0,
            rows.cast_signed() as i64,
            width,
            std::ptr::null(),
        );
    }
    quantised
}
