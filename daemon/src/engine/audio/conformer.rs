//! The weights of Gemma 4's audio conformer (`gemma4a`), named as llama.cpp names them
//! (tools/mtmd/clip.cpp:3304, clip-impl.h).

use super::mel::BANDS;
use super::weights::{Linear, Reader, Weights};
use crate::engine::ggml::tensors::{Arena, Buffer, Device, Tensor};

/// Frames before a frame whose keys and values are kept. The frame attends to all but the farthest of them
/// (clip.cpp:5502: to 12, itself included). With the farthest one, sums have llama.cpp's length and so its
/// roundings.
pub(super) const PAST: i64 = 12;

/// Inputs of the depthwise convolution of a frame; the last is the frame's own.
pub(super) const CONVOLVED: i64 = 5;

/// Sizes that the header of the file gives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub hidden: i64,
    pub feed_forward: i64,
    pub layers: usize,
    pub heads: i64,
    /// Width of a soft token.
    pub width: i64,
}

/// A conformer, loaded.
#[derive(Debug)]
pub(super) struct Conformer {
    pub convolutions: [Convolution; 2],
    pub input: Linear,
    pub input_bias: Option<Tensor>,
    pub layers: Vec<Layer>,
    pub output: Linear,
    pub output_bias: Option<Tensor>,
    pub embedder_norm: Option<Tensor>,
    pub embedder: Linear,
    pub sizes: Sizes,
    // The memory that the handles above point into.
    _weights: Weights,
    _distances: (Buffer, Arena),
}

/// A 3×3 convolution with stride 2 over frequency and time, with its bias and norm.
#[derive(Debug)]
pub(super) struct Convolution {
    pub kernel: Tensor,
    pub bias: Option<Tensor>,
    pub norm: Option<Tensor>,
    pub channels: i64,
}

#[derive(Debug)]
pub(super) struct Layer {
    pub before: FeedForward,
    pub attention: Attention,
    pub convolution: Depthwise,
    pub after: FeedForward,
    pub norm: Option<Tensor>,
}

#[derive(Debug)]
pub(super) struct FeedForward {
    pub norm: Tensor,
    pub up: Linear,
    pub down: Linear,
    pub post_norm: Option<Tensor>,
}

#[derive(Debug)]
pub(super) struct Attention {
    pub norm: Option<Tensor>,
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub output_bias: Option<Tensor>,
    pub query_scale: Option<Tensor>,
    pub key_scale: Option<Tensor>,
    pub post_norm: Option<Tensor>,
    /// Keys of the distances: head × (distances [`PAST`] to 0) × heads. They do not depend on the sound, so they
    /// are computed while loading.
    pub distances: Tensor,
}

#[derive(Debug)]
pub(super) struct Depthwise {
    pub norm: Option<Tensor>,
    pub up: Linear,
    pub kernel: Tensor,
    pub bias: Option<Tensor>,
    pub inner_norm: Option<Tensor>,
    pub down: Linear,
}

impl Conformer {
    /// Maximum tensors read from a file of this many layers.
    pub(super) fn tensors(layers: usize) -> usize {
        16 + 32 * layers
    }

    /// Reads a conformer; both readers read the same file.
    ///
    /// # Errors
    /// When something is missing or of another shape, or ggml fails.
    pub(super) fn load(
        mut reader: Reader<'_>,
        relative: Reader<'_>,
        sizes: Sizes,
        device: &mut Device,
    ) -> Result<Self, String> {
        let Sizes { hidden, width, .. } = sizes;
        let first = Convolution::read(&mut reader, 0, 1)?;
        let second = Convolution::read(&mut reader, 1, first.channels)?;
        let bands = i64::try_from(BANDS / 4).map_err(|error| error.to_string())?;
        let (distances, distances_in) = distances(relative, sizes, device)?;
        let layers = distances
            .into_iter()
            .enumerate()
            .map(|(layer, distances)| Layer::read(&mut reader, layer, sizes, distances))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            input: reader.linear("a.input_projection", second.channels * bands, hidden)?,
            input_bias: reader.optional("a.input_projection.bias", &[hidden])?,
            convolutions: [first, second],
            layers,
            output: reader.linear("a.pre_encode.out", hidden, width)?,
            output_bias: reader.optional("a.pre_encode.out.bias", &[width])?,
            embedder_norm: reader.optional("mm.a.soft_emb_norm.weight", &[width])?,
            embedder: reader.linear("mm.a.input_projection", width, width)?,
            sizes,
            _weights: reader.load(device)?,
            _distances: distances_in,
        })
    }
}

impl Convolution {
    fn read(reader: &mut Reader<'_>, nth: usize, before: i64) -> Result<Self, String> {
        let name = format!("a.conv1d.{nth}");
        let kernel = format!("{name}.weight");
        let channels = reader.shape(&kernel).map_or(0, |shape| shape[3]);
        Ok(Self {
            kernel: reader.kernel(&kernel, &[3, 3, before, channels])?,
            bias: reader.optional(&format!("{name}.bias"), &[1, 1, channels])?,
            norm: reader.optional(&format!("{name}.norm.weight"), &[channels])?,
            channels,
        })
    }
}

impl Layer {
    fn read(
        reader: &mut Reader<'_>,
        layer: usize,
        sizes: Sizes,
        distances: Tensor,
    ) -> Result<Self, String> {
        let Sizes { hidden, heads, .. } = sizes;
        let head = hidden / heads;
        let name = |part: &str| format!("a.blk.{layer}.{part}");
        let weight = |part: &str| format!("a.blk.{layer}.{part}.weight");
        let norm = reader.optional(&weight("attn_pre_norm"), &[hidden])?;
        let norm = norm.map_or_else(
            || reader.optional(&weight("ln1"), &[hidden]),
            |norm| Ok(Some(norm)),
        )?;
        Ok(Self {
            before: FeedForward::read(reader, layer, "", sizes)?,
            attention: Attention {
                norm,
                query: reader.linear(&name("attn_q"), hidden, hidden)?,
                key: reader.linear(&name("attn_k"), hidden, hidden)?,
                value: reader.linear(&name("attn_v"), hidden, hidden)?,
                output: reader.linear(&name("attn_out"), hidden, hidden)?,
                output_bias: reader.optional(&name("attn_out.bias"), &[hidden])?,
                query_scale: reader.optional(&weight("per_dim_scale"), &[head])?,
                key_scale: reader.optional(&weight("per_dim_k_scale"), &[head])?,
                post_norm: reader.optional(&weight("attn_post_norm"), &[hidden])?,
                distances,
            },
            convolution: Depthwise {
                // These two names are exchanged in GGUF files (clip.cpp:3336).
                norm: reader.optional(&weight("conv_norm"), &[hidden])?,
                inner_norm: reader.optional(&weight("norm_conv"), &[hidden])?,
                up: reader.linear(&name("conv_pw1"), hidden, 2 * hidden)?,
                kernel: reader.numbers(&weight("conv_dw"), &[CONVOLVED, hidden])?,
                bias: reader.optional(&name("conv_dw.bias"), &[hidden])?,
                down: reader.linear(&name("conv_pw2"), hidden, hidden)?,
            },
            after: FeedForward::read(reader, layer, "_1", sizes)?,
            norm: reader.optional(&weight("ln2"), &[hidden])?,
        })
    }
}

impl FeedForward {
    fn read(
        reader: &mut Reader<'_>,
        layer: usize,
        half: &str,
        sizes: Sizes,
    ) -> Result<Self, String> {
        let Sizes {
            hidden,
            feed_forward,
            ..
        } = sizes;
        let name = |part: &str| format!("a.blk.{layer}.{part}{half}");
        Ok(Self {
            norm: reader.numbers(&format!("{}.weight", name("ffn_norm")), &[hidden])?,
            up: reader.linear(&name("ffn_up"), hidden, feed_forward)?,
            down: reader.linear(&name("ffn_down"), feed_forward, hidden)?,
            post_norm: reader.optional(&format!("{}.weight", name("ffn_post_norm")), &[hidden])?,
        })
    }
}

/// Computes [`Attention::distances`] of all layers: the sines and cosines of each distance (clip.cpp:5514),
/// projected by the layer's `attn_k_rel`, which nothing else needs.
fn distances(
    mut reader: Reader<'_>,
    sizes: Sizes,
    device: &mut Device,
) -> Result<(Vec<Tensor>, (Buffer, Arena)), String> {
    let Sizes {
        hidden,
        heads,
        layers,
        ..
    } = sizes;
    let operations = 8 * layers + 8;
    let weights = (0..layers)
        .map(|layer| {
            reader.matrix(
                &format!("a.blk.{layer}.attn_k_rel.weight"),
                &[hidden, hidden],
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    let _weights = reader.load(device)?;
    let kept = Arena::new(layers)?;
    let distances: Vec<_> = (0..layers)
        .map(|_| kept.floats(&[hidden / heads, PAST + 1, heads]))
        .collect();
    let buffer = device.place(&kept)?;
    let arena = Arena::new(operations)?;
    let waves = arena.input(&[hidden, PAST + 1]);
    let results: Vec<_> = weights
        .iter()
        .zip(&distances)
        .map(|(weight, distances)| {
            let projected = arena.mul_mat(*weight, waves);
            let heads = arena.reshape_3d(projected, hidden / heads, heads, PAST + 1);
            arena.copy(arena.permute(heads, 0, 2, 1, 3), *distances)
        })
        .collect();
    let mut graph = device.graph(&arena, operations, &results)?;
    waves.write(&sines_and_cosines(hidden));
    device.compute(&mut graph)?;
    Ok((distances, (buffer, kept)))
}

/// For each distance, the farthest first: the sines of its multiples, then the cosines.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn sines_and_cosines(hidden: i64) -> Vec<f32> {
    let scales = hidden / 2;
    let step = 10_000f32.ln() / (scales - 1).max(1) as f32;
    let angle = |distance: i64, scale: i64| distance as f32 * (-(scale as f32) * step).exp();
    (0..=PAST)
        .rev()
        .flat_map(|distance| {
            let sines = (0..scales).map(move |scale| angle(distance, scale).sin());
            sines.chain((0..scales).map(move |scale| angle(distance, scale).cos()))
        })
        .collect()
}
