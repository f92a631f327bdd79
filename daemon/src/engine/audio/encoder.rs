//! The audio encoder of a projector file: loaded once, shared by every utterance.
//!
//! There are two kinds. `gemma4a` (E2B, E4B) is a conformer over the log-mel spectrogram; `gemma4ua`
//! (12B) has no encoder: 640 samples are one row, and one matrix makes a soft token of it. Both
//! compute an utterance in pieces of the sizes in [`PIECES`]. The graph of a size is made for the first
//! piece of that size, and kept.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gemmad_text as text;

use super::conformer::{Conformer, Sizes};
use super::graph::{self, EPSILON};
use super::mel::{BANDS, Floor, LogMel, Tables};
use super::waveform::{FRAME, Waveform};
use super::weights::{Linear, Precision, Reader, Weights};
use crate::engine::ggml::tensors::{Arena, Buffer, Device, Graph, Tensor};
use crate::engine::ggml::threads::Threads;
use crate::engine::llama::backend;
use crate::engine::llama::gguf::{Header, Kind};
use crate::engine::stop::Stop;
use crate::engine::{EngineError, LoadError};

/// Sizes of pieces, in rows, the largest first. Any number of rows is a sum of them.
pub(super) const PIECES: [usize; 7] = [48, 24, 12, 6, 3, 2, 1];

/// Rows of a piece during speech, when the machine keeps up: 480 ms. The weights are read from memory for every
/// piece, so smaller ones cost nearly as much.
pub(super) const USUAL: usize = 12;

/// Options of an encoder.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct Options {
    /// How the floor of its spectrogram is applied.
    pub floor: Floor,
    /// How its matrices are held.
    pub precision: Precision,
    /// Whether it computes on a GPU, if there is one that can.
    pub gpu: bool,
}

/// A loaded audio encoder.
#[derive(Debug)]
pub(in crate::engine) struct Encoder {
    kind: Architecture,
    width: usize,
    state: usize,
    machine: Mutex<Machine>,
}

/// The kind of an encoder, with its weights.
#[derive(Debug)]
enum Architecture {
    Conformer {
        conformer: Box<Conformer>,
        mel: Arc<Tables>,
    },
    Projection {
        matrix: Linear,
        _weights: Weights,
    },
}

/// Makes the encoder's frames of samples.
#[derive(Debug, Clone)]
pub(super) enum Front {
    Mel(LogMel),
    Waveform(Waveform),
}

/// A device and its graphs, which compute one piece at a time.
#[derive(Debug)]
struct Machine {
    graphs: [Option<Piece>; PIECES.len()],
    /// State of the utterance whose piece is being computed, where the graphs read it.
    state: Tensor,
    _state_in: (Buffer, Arena),
    device: Device,
}

/// The graph for one size of pieces.
#[derive(Debug)]
struct Piece {
    graph: Graph,
    inputs: Inputs,
    soft_tokens: Tensor,
    #[cfg(test)]
    multiply_adds: u64,
    _arena: Arena,
}

#[derive(Debug)]
struct Inputs {
    frames: Tensor,
    /// Only for the conformer: the inputs `alive` and `mask` of its plan.
    conformer: Option<(Tensor, Tensor)>,
}

impl Encoder {
    /// Loads the encoder in the projector file at `path` for a text model of `width`, to compute
    /// with `threads`.
    ///
    /// # Errors
    /// When the file is missing, damaged, no projector, deaf, or made for another text model.
    pub(in crate::engine) fn load(
        path: &Path,
        width: usize,
        threads: &Arc<Threads>,
        options: Options,
    ) -> Result<Arc<Self>, LoadError> {
        if options.gpu
            && let Some(gpu) = Device::gpu()
        {
            match Self::load_on(gpu, path, width, options, threads.stop()) {
                Ok(encoder) => return Ok(encoder),
                Err(why) => log::warn!("the audio encoder stays on the CPU: {why}"),
            }
        }
        let cpu = Device::cpu(threads).map_err(|why| EngineError::Llama {
            doing: "preparing the CPU for the audio encoder",
            why,
        })?;
        Self::load_on(cpu, path, width, options, threads.stop())
    }

    fn load_on(
        mut device: Device,
        path: &Path,
        width: usize,
        options: Options,
        stop: &Stop,
    ) -> Result<Arc<Self>, LoadError> {
        let header = Header::open(path, Kind::Projector)?;
        backend::take_errors();
        let refused = |why: String| LoadError::Refused {
            path: path.into(),
            why: match backend::take_errors() {
                lines if lines.is_empty() => why,
                lines => format!("{why}; {lines}"),
            },
        };
        let mismatch = |projector| LoadError::Mismatch {
            path: path.into(),
            projector,
            text: width,
        };
        if let Some(projector) = header.u32("clip.audio.projection_dim")
            && projector as usize != width
        {
            return Err(mismatch(projector as usize));
        }
        // A file with one encoder may say its kind without saying what it is for.
        let kind = header.string("clip.audio.projector_type").or_else(|| {
            let hears = header.flag("clip.has_audio_encoder");
            header.string("clip.projector_type").filter(|_| hears)
        });
        let kind = match kind {
            Some("gemma4a") => Architecture::conformer(&header, options, &mut device, stop),
            Some("gemma4ua") => Architecture::projection(&header, &device, stop),
            Some(other) => {
                let other = text::line(other, 40);
                Err(format!("its audio encoder is {other}, not Gemma 4's"))
            }
            None => return Err(LoadError::NoEncoder { path: path.into() }),
        }
        .map_err(refused)?;
        if kind.width() != width {
            return Err(mismatch(kind.width()));
        }
        let state = kind.state();
        let mut machine = Machine::new(state, device).map_err(refused)?;
        // Made now to show whether the device can compute it, and so that no utterance waits for it.
        machine.piece(&kind, USUAL).map_err(refused)?;
        Ok(Arc::new(Self {
            kind,
            width,
            state,
            machine: Mutex::new(machine),
        }))
    }

    /// Width of a soft token.
    #[cfg(test)]
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Multiply-adds of a piece of `rows`, one of [`PIECES`].
    ///
    /// # Errors
    /// When there is no memory.
    #[cfg(test)]
    pub(super) fn multiply_adds(&self, rows: usize) -> Result<u64, EngineError> {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let (piece, _) = machine.piece(&self.kind, rows).map_err(failed)?;
        Ok(piece.multiply_adds)
    }

    /// Length of the state that an utterance carries from piece to piece, in numbers.
    pub(super) fn state(&self) -> usize {
        self.state
    }

    /// Frames of the front for each soft token.
    pub(super) fn frames_in_row(&self) -> usize {
        match self.kind {
            Architecture::Conformer { .. } => 4,
            Architecture::Projection { .. } => 1,
        }
    }

    /// Numbers in a frame of the front.
    pub(super) fn frame(&self) -> usize {
        match self.kind {
            Architecture::Conformer { .. } => BANDS,
            Architecture::Projection { .. } => FRAME,
        }
    }

    /// The front for a new utterance.
    pub(super) fn front(&self) -> Front {
        match &self.kind {
            Architecture::Conformer { mel, .. } => Front::Mel(LogMel::new(mel)),
            Architecture::Projection { .. } => Front::Waveform(Waveform::default()),
        }
    }

    /// Computes a piece of `rows` soft tokens, one of [`PIECES`]. `heard` rows of the utterance were computed
    /// before, and `state` is the utterance's, which is updated. There are as many `frames` as the rows need;
    /// the first `there` belong to the utterance, and the rest are zero.
    ///
    /// # Errors
    /// When ggml fails.
    pub(super) fn compute(
        &self,
        rows: usize,
        frames: &[f32],
        there: usize,
        heard: usize,
        state: &mut [f32],
    ) -> Result<Vec<f32>, EngineError> {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut soft_tokens = vec![0.0; rows * self.width];
        machine
            .compute(
                &self.kind,
                rows,
                |inputs| inputs.write(frames, there, heard),
                state,
                &mut soft_tokens,
            )
            .map_err(failed)?;
        Ok(soft_tokens)
    }
}

impl Architecture {
    fn conformer(
        header: &Header,
        options: Options,
        device: &mut Device,
        stop: &Stop,
    ) -> Result<Self, String> {
        let size = |key: &str| {
            let value = header.u32(&format!("clip.audio.{key}"));
            value
                .filter(|value| *value > 0)
                .ok_or_else(|| format!("its header has no clip.audio.{key}"))
        };
        let layers = size("block_count")? as usize;
        let sizes = Sizes {
            hidden: size("embedding_length")?.into(),
            feed_forward: size("feed_forward_length")?.into(),
            layers,
            heads: size("attention.head_count")?.into(),
            width: size("projection_dim")?.into(),
        };
        if size("num_mel_bins")? as usize != BANDS || sizes.hidden % (2 * sizes.heads) != 0 {
            return Err("the sizes in its header are not a Gemma 4 encoder's".into());
        }
        let reader = Reader::new(header, Conformer::tensors(layers), options.precision, stop)?;
        let relative = Reader::new(header, layers, Precision::Stored, stop)?;
        Ok(Self::Conformer {
            conformer: Box::new(Conformer::load(reader, relative, sizes, device)?),
            mel: Tables::new(options.floor),
        })
    }

    fn projection(header: &Header, device: &Device, stop: &Stop) -> Result<Self, String> {
        let mut reader = Reader::new(header, 1, Precision::Stored, stop)?;
        let name = "mm.a.input_projection";
        let [inputs, width, ..] = reader
            .shape(&format!("{name}.weight"))
            .ok_or_else(|| format!("it has no tensor {name}.weight"))?;
        if usize::try_from(inputs) != Ok(FRAME) {
            return Err(format!("it projects {inputs} samples instead of {FRAME}"));
        }
        Ok(Self::Projection {
            matrix: reader.linear(name, inputs, width)?,
            _weights: reader.load(device)?,
        })
    }

    fn width(&self) -> usize {
        usize::try_from(match self {
            Self::Conformer { conformer, .. } => conformer.sizes.width,
            Self::Projection { matrix, .. } => matrix.weight.shape()[1],
        })
        .unwrap_or(0)
    }

    fn state(&self) -> usize {
        match self {
            Self::Conformer { conformer, .. } => {
                usize::try_from(graph::state(conformer)).unwrap_or(0)
            }
            Self::Projection { .. } => 0,
        }
    }

    fn piece(&self, device: &Device, state: Tensor, rows: usize) -> Result<Piece, String> {
        let length = i64::try_from(rows).map_err(|error| error.to_string())?;
        let operations = match self {
            Self::Conformer { conformer, .. } => graph::operations(conformer),
            Self::Projection { .. } => 16,
        };
        let arena = Arena::new(operations)?;
        let (inputs, results) = match self {
            Self::Conformer { conformer, .. } => {
                let plan = graph::plan(&arena, conformer, state, length);
                let mut results = vec![plan.soft_tokens];
                results.extend(plan.carried);
                let inputs = Inputs {
                    frames: plan.frames,
                    conformer: Some((plan.alive, plan.mask)),
                };
                (inputs, results)
            }
            Self::Projection { matrix, .. } => {
                let frames = arena.input(&[matrix.weight.shape()[0], length]);
                let soft_tokens = matrix.apply(&arena, arena.rms_norm(frames, EPSILON));
                soft_tokens.keep();
                let conformer = None;
                (Inputs { frames, conformer }, vec![soft_tokens])
            }
        };
        let graph = device.graph(&arena, operations, &results)?;
        Ok(Piece {
            #[cfg(test)]
            multiply_adds: graph.multiply_adds(),
            graph,
            inputs,
            soft_tokens: results[0],
            _arena: arena,
        })
    }
}

impl Machine {
    fn new(state: usize, device: Device) -> Result<Self, String> {
        let arena = Arena::new(1)?;
        // ggml wants something to place even where there is no state.
        let tensor = arena.floats(&[i64::try_from(state.max(1)).unwrap_or(1)]);
        let buffer = device.place(&arena)?;
        Ok(Self {
            graphs: [const { None }; PIECES.len()],
            state: tensor,
            _state_in: (buffer, arena),
            device,
        })
    }

    /// The graph for pieces of `rows`, made if this is the first, and the device.
    fn piece(
        &mut self,
        kind: &Architecture,
        rows: usize,
    ) -> Result<(&mut Piece, &mut Device), String> {
        let nth = PIECES.iter().position(|piece| *piece == rows);
        let place = &mut self.graphs[nth.ok_or_else(|| format!("no pieces of {rows} rows"))?];
        let piece = match place {
            Some(piece) => piece,
            None => place.insert(kind.piece(&self.device, self.state, rows)?),
        };
        Ok((piece, &mut self.device))
    }

    fn compute(
        &mut self,
        kind: &Architecture,
        rows: usize,
        write: impl FnOnce(&Inputs),
        state: &mut [f32],
        soft_tokens: &mut [f32],
    ) -> Result<(), String> {
        let state_place = self.state;
        let (piece, device) = self.piece(kind, rows)?;
        write(&piece.inputs);
        if !state.is_empty() {
            state_place.write(state);
        }
        device.compute(&mut piece.graph)?;
        piece.soft_tokens.read(soft_tokens);
        if !state.is_empty() {
            state_place.read(state);
        }
        Ok(())
    }
}

impl Inputs {
    fn write(&self, frames: &[f32], there: usize, heard: usize) {
        self.frames.write(frames);
        if let Some((alive, mask)) = self.conformer {
            // An output of the first convolution belongs to the utterance if the first of its own two frames does.
            let [bands, columns, ..] = alive.shape().map(|n| usize::try_from(n).unwrap_or(0));
            let column = |nth: usize| if 2 * nth < there { 1.0 } else { 0.0 };
            let alive_values: Vec<f32> = (0..columns)
                .flat_map(|nth| std::iter::repeat_n(column(nth), bands))
                .collect();
            alive.write(&alive_values);
            graph::write_mask(mask, heard);
        }
    }
}

impl Front {
    /// Takes samples and appends the frames they complete to `frames`.
    pub(super) fn push(&mut self, samples: &[f32], frames: &mut Vec<f32>) {
        match self {
            Self::Mel(mel) => mel.push(samples, frames),
            Self::Waveform(waveform) => waveform.push(samples, frames),
        }
    }

    /// Appends the frame that only the end completes, if there is one.
    pub(super) fn finish(&mut self, frames: &mut Vec<f32>) {
        match self {
            Self::Mel(mel) => mel.finish(frames),
            Self::Waveform(waveform) => waveform.finish(frames),
        }
    }
}

fn failed(why: String) -> EngineError {
    EngineError::Llama {
        doing: "encoding sound",
        why,
    }
}

#[cfg(test)]
mod tests;
