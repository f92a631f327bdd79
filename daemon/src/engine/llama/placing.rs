//! Where the weights of a text model go in memory.
//!
//! Most are used where the file is mapped. Matrices of the layers are repacked, if the CPU multiplies them faster so; that
//! makes a copy, and the kernel drops the pages of the original when it needs them. The table of tokens is not repacked for
//! the output: one row of numbers is multiplied with it for each token, which gains nothing, and the copy would cost 330 MB
//! for E2B.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;

use llama_cpp_sys_2 as sys;

use super::gguf::{Entry, Header, Kind};
use crate::engine::ggml::cpu::Cpu;
use crate::engine::ggml::layout::Layout;
use crate::engine::probe::files;
use crate::engine::{EngineError, LoadError};

/// The matrices of a layer that rows are multiplied with, by the middle of their names `blk.N.….weight`. llama.cpp uses
/// others in operations that have no kernels for a layout.
const MULTIPLIED: [&str; 16] = [
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_qkv",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    "ffn_gate_exps",
    "ffn_up_exps",
    "ffn_gate_up_exps",
    "ffn_down_exps",
    "inp_gate",
    "proj",
    "laurel_l",
    "laurel_r",
];

/// The embeddings of each token for each layer: one row is read for each token.
const PER_LAYER: &str = "per_layer_token_embd.weight";

/// The headers of a text model, of all its parts, and where its weights go.
#[derive(Debug)]
pub(in crate::engine) struct Text {
    /// The header of the first part, which has the metadata.
    pub header: Header,
    /// Bytes of weights that are used where the file is mapped.
    pub mapped: u64,
    /// Bytes of the embeddings for each layer.
    pub per_layer: u64,
    /// Bytes of weights that are copied into a layout.
    pub repacked: u64,
    /// Matrices by layout and by the name of their kind, with their layers.
    layouts: Vec<(Layout, BTreeMap<&'static str, Vec<u32>>)>,
    /// All layers that have a matrix of this kind.
    layers: BTreeMap<&'static str, usize>,
}

impl Text {
    /// Reads the headers of the model at `path`, and plans with layouts if `repacks`.
    ///
    /// # Errors
    /// When a file is missing, damaged or of the wrong kind.
    pub(in crate::engine) fn open(path: &Path, repacks: bool) -> Result<Self, LoadError> {
        let failed = |why| EngineError::Llama {
            doing: "planning where the weights go",
            why,
        };
        let cpu = Cpu::get().map_err(failed)?;
        let mut text = Self {
            header: Header::open(path, Kind::Text)?,
            mapped: 0,
            per_layer: 0,
            repacked: 0,
            layouts: Vec::new(),
            layers: BTreeMap::new(),
        };
        if repacks {
            let layouts = Layout::all(cpu).into_iter();
            text.layouts = layouts.map(|it| (it, BTreeMap::new())).collect();
        }
        let parts = files::parts(path).into_iter().skip(1);
        let parts: Vec<_> = parts
            .map(|it| Header::of_part(&it))
            .collect::<Result<_, _>>()?;
        let mut entries = Vec::new();
        for header in std::iter::once(&text.header).chain(&parts) {
            let named = header
                .names()
                .map(|name| (name.to_owned(), header.tensor(name)));
            entries.extend(named.filter_map(|(name, entry)| Some((name, entry?))));
        }
        for (name, entry) in entries {
            text.place(cpu, &name, &entry).map_err(failed)?;
        }
        Ok(text)
    }

    /// The length that the model was trained with, in tokens.
    pub(in crate::engine) fn trained(&self) -> u32 {
        let architecture = self
            .header
            .string("general.architecture")
            .unwrap_or_default();
        let length = self.header.u32(&format!("{architecture}.context_length"));
        length.unwrap_or(u32::MAX)
    }

    fn place(&mut self, cpu: &Cpu, name: &str, entry: &Entry) -> Result<(), String> {
        let bytes = entry.bytes as u64;
        if name == PER_LAYER {
            self.per_layer += bytes;
            return Ok(());
        }
        if let Some((layer, kind)) = multiplied(name) {
            *self.layers.entry(kind).or_default() += 1;
            for (layout, matrices) in &mut self.layouts {
                if layout.takes(cpu, entry.kind, entry.shape)? {
                    matrices.entry(kind).or_default().push(layer);
                    self.repacked += bytes;
                    return Ok(());
                }
            }
        }
        self.mapped += bytes;
        Ok(())
    }

    /// Which tensors llama.cpp is to put into which buffers.
    pub(in crate::engine) fn overrides(&self) -> Overrides {
        let mut patterns = Vec::new();
        for (layout, matrices) in &self.layouts {
            for (kind, layers) in matrices {
                let layers = if self.layers.get(kind) == Some(&layers.len()) {
                    "[0-9]+".into()
                } else {
                    let layers: Vec<_> = layers.iter().map(u32::to_string).collect();
                    format!("({})", layers.join("|"))
                };
                // Numbers and words hold no NUL.
                if let Ok(pattern) = CString::new(format!(r"^blk\.{layers}\.{kind}\.weight$")) {
                    patterns.push((pattern, *layout));
                }
            }
        }
        Overrides::new(patterns)
    }
}

/// A list of overrides as llama.cpp takes it: patterns of names, and kinds of buffers, to a null.
#[derive(Debug)]
pub(in crate::engine) struct Overrides {
    raw: Vec<sys::llama_model_tensor_buft_override>,
    /// The patterns that `raw` points at.
    _patterns: Vec<CString>,
}

impl Overrides {
    fn new(patterns: Vec<(CString, Layout)>) -> Self {
        let ours = patterns
            .iter()
            .map(|(pattern, layout)| sys::llama_model_tensor_buft_override {
                pattern: pattern.as_ptr(),
                buft: layout.raw(),
            });
        let end = sys::llama_model_tensor_buft_override {
            pattern: std::ptr::null(),
            buft: std::ptr::null_mut(),
        };
        Self {
            raw: ours.chain([end]).collect(),
            // The texts stay where they are when the vector moves.
            _patterns: patterns.into_iter().map(|(pattern, _)| pattern).collect(),
        }
    }

    /// The list, valid as long as `self`.
    pub(in crate::engine) fn as_ptr(&self) -> *const sys::llama_model_tensor_buft_override {
        self.raw.as_ptr()
    }
}

/// The layer of a matrix that rows are multiplied with, and its kind.
fn multiplied(name: &str) -> Option<(u32, &'static str)> {
    let (layer, kind) = name.strip_prefix("blk.")?.split_once('.')?;
    let kind = kind.strip_suffix(".weight")?;
    let kind = MULTIPLIED.into_iter().find(|it| *it == kind)?;
    Some((layer.parse().ok()?, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_matrices_of_layers_are_repacked() {
        assert_eq!(multiplied("blk.12.attn_q.weight"), Some((12, "attn_q")));
        assert_eq!(multiplied("blk.0.proj.weight"), Some((0, "proj")));
        for name in [
            "token_embd.weight",
            "output.weight",
            "blk.1.attn_q_norm.weight",
            "blk.1.attn_q.bias",
            "blk.x.attn_q.weight",
            "per_layer_model_proj.weight",
        ] {
            assert_eq!(multiplied(name), None, "{name}");
        }
    }

    #[test]
    fn all_bytes_of_a_model_have_a_place() {
        let path = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../models/nano/nano-f16.gguf"
        ));
        let length = std::fs::metadata(path).unwrap().len();
        let text = Text::open(path, true).unwrap();
        let weights = text.mapped + text.per_layer + text.repacked;
        // The rest is the vocabulary and other metadata.
        assert!(weights < length && weights > length / 2, "{text:?}");
    }
}
