//! The graph of Gemma 4's audio conformer over one piece of an utterance.
//!
//! The operations are those of llama.cpp's `clip_graph_gemma4a::build`
//! (tools/mtmd/models/gemma4a.cpp), with the past of the piece where that graph has padding. The past is
//! short, because nothing in the model looks ahead and nothing looks far back:
//!
//! | operation | looks back at |
//! |---|---|
//! | first 3×3 convolution, stride 2 | the last mel frame |
//! | second 3×3 convolution, stride 2 | the last output of the first |
//! | attention of a layer | keys and values of the last 11 frames (12 are kept) |
//! | depthwise convolution of a layer | its last 4 inputs |
//!
//! At the start of an utterance all of the past is zero, as padding is, and a mask keeps attention from
//! seeing it.

use super::conformer::{
    Attention, CONVOLVED, Conformer, Convolution, Depthwise, FeedForward, Layer, PAST,
};
use super::mel::BANDS;
use super::weights::Linear;
use crate::engine::ggml::tensors::{Arena, Tensor};

/// Epsilon of every norm (clip.cpp:1987).
pub(super) const EPSILON: f32 = 1e-6;

/// Attention scores are squashed to ± this (gemma4a.cpp, `softcap`).
const SOFTCAP: f32 = 50.0;

/// Maximum frames in a block of attention, as in llama.cpp.
const BLOCK: i64 = PAST;

/// Bands of the spectrogram, in ggml's integer type.
#[expect(clippy::cast_possible_wrap, reason = "it is 128")]
const MEL: i64 = BANDS as i64;

/// Operations of a graph outside its layers, and in each layer, rounded up.
const OPERATIONS: usize = 128;

/// A graph before it has memory.
#[derive(Debug)]
pub(super) struct Plan {
    /// Input: [`BANDS`] × mel frames.
    pub frames: Tensor,
    /// Input: 1 for each output of the first convolution that the utterance has, else 0.
    pub alive: Tensor,
    /// Input: added to the scores of attention.
    pub mask: Tensor,
    /// Result: width × rows.
    pub soft_tokens: Tensor,
    /// Results: the new state, copied over the old.
    pub carried: Vec<Tensor>,
}

/// Maximum operations of a graph.
pub(super) fn operations(conformer: &Conformer) -> usize {
    OPERATIONS * (1 + conformer.layers.len())
}

/// Floats of the state of an utterance.
pub(super) fn state(conformer: &Conformer) -> i64 {
    let [first, _] = &conformer.convolutions;
    let layers = i64::try_from(conformer.layers.len()).unwrap_or(0);
    let layer = (2 * PAST + CONVOLVED - 1) * conformer.sizes.hidden;
    MEL + first.channels * MEL / 2 + layers * layer
}

/// Plans a piece of `rows` soft tokens, at most 12 or a multiple of 12.
pub(super) fn plan(arena: &Arena, conformer: &Conformer, state: Tensor, rows: i64) -> Plan {
    let block = rows.min(BLOCK);
    let frames = arena.input(&[MEL, 4 * rows]);
    let alive = arena.input(&[MEL / 2, 2 * rows]);
    let mask = arena.input(&[block + PAST, block, rows / block]);
    let mut planner = Planner {
        arena,
        conformer,
        state,
        offset: 0,
        carried: Vec::new(),
        rows,
        block,
        mask,
    };
    let mut x = planner.subsampling(frames, alive);
    for layer in &conformer.layers {
        x = planner.layer(layer, x);
    }
    let soft_tokens = planner.embedder(x);
    debug_assert_eq!(planner.offset, state.bytes());
    soft_tokens.keep();
    Plan {
        frames,
        alive,
        mask,
        soft_tokens,
        carried: planner.carried,
    }
}

/// Writes the mask of a piece that `heard` rows precede: a frame sees itself and the 11 before it, as far as
/// the utterance has them.
pub(super) fn write_mask(mask: Tensor, heard: usize) {
    const MASKED: f32 = -1e9; // clip.cpp:5494
    let [seen, block, blocks, _] = mask.shape();
    let heard = i64::try_from(heard).unwrap_or(i64::MAX).min(PAST);
    let mut values = Vec::with_capacity(mask.bytes() / size_of::<f32>());
    for first in (0..blocks).map(|nth| nth * block) {
        for query in 0..block {
            values.extend((0..seen).map(|key| {
                let near = (1..=PAST).contains(&(key - query));
                let there = first + key - PAST + heard >= 0;
                if near && there { 0.0 } else { MASKED }
            }));
        }
    }
    mask.write(&values);
}

struct Planner<'a> {
    arena: &'a Arena,
    conformer: &'a Conformer,
    state: Tensor,
    /// Bytes of the state that operations read so far.
    offset: usize,
    carried: Vec<Tensor>,
    rows: i64,
    block: i64,
    mask: Tensor,
}

impl Planner<'_> {
    /// `x` after the `past` elements before it, along a dimension. The past is read from the state, and the last
    /// `past` elements of the result are the new state.
    fn with_past(&mut self, x: Tensor, past: i64, dimension: usize) -> Tensor {
        let mut shape = x.shape();
        shape[dimension] = past;
        let [ne0, ne1, ne2, _] = shape;
        let float = size_of::<f32>();
        let length = |dimension: i64| usize::try_from(dimension).unwrap_or(0);
        let (nb1, nb2) = (float * length(ne0), float * length(ne0 * ne1));
        let before = self
            .arena
            .view_3d(self.state, ne0, ne1, ne2, nb1, nb2, self.offset);
        self.offset += nb2 * length(ne2);
        let axis = i32::try_from(dimension).unwrap_or(0);
        let all = self.arena.concat(before, x, axis);
        let [_, nb1, nb2, _] = all.strides();
        let last = length(all.shape()[dimension] - past) * all.strides()[dimension];
        let last = self.arena.view_3d(all, ne0, ne1, ne2, nb1, nb2, last);
        self.carried.push(self.arena.copy(last, before));
        all
    }

    /// Makes one row of every four mel frames.
    fn subsampling(&mut self, frames: Tensor, alive: Tensor) -> Tensor {
        let (arena, conformer) = (self.arena, self.conformer);
        let [first, second] = &conformer.convolutions;
        let x = self.with_past(frames, 1, 1);
        let x = arena.mul(self.convolution(first, x), alive);
        let x = self.with_past(x, 1, 1);
        let x = self.convolution(second, x);
        let x = arena.cont(arena.permute(x, 1, 2, 0, 3));
        let x = arena.reshape_2d(x, second.channels * MEL / 4, self.rows);
        self.biased(self.linear(&conformer.input, x), conformer.input_bias)
    }

    /// Pads along frequency only; along time, `x` begins with its past.
    fn convolution(&self, convolution: &Convolution, x: Tensor) -> Tensor {
        let arena = self.arena;
        let x = arena.conv_2d(convolution.kernel, x, 2, 2, 1, 0, 1, 1);
        let mut x = self.biased(x, convolution.bias);
        if let Some(norm) = convolution.norm {
            let channels_first = arena.cont(arena.permute(x, 1, 2, 0, 3));
            let normed = arena.mul(arena.norm(channels_first, EPSILON), norm);
            x = arena.cont(arena.permute(normed, 2, 0, 1, 3));
        }
        arena.relu(x)
    }

    fn layer(&mut self, layer: &Layer, x: Tensor) -> Tensor {
        let arena = self.arena;
        let x = self.feed_forward(&layer.before, x);
        let x = arena.add(x, self.attention(&layer.attention, x));
        let x = arena.add(x, self.depthwise(&layer.convolution, x));
        let x = self.feed_forward(&layer.after, x);
        layer.norm.map_or(x, |norm| self.normed(x, Some(norm)))
    }

    /// A half step: adds half of the result to `x`.
    fn feed_forward(&self, weights: &FeedForward, x: Tensor) -> Tensor {
        let arena = self.arena;
        let inner = self.normed(x, Some(weights.norm));
        let inner = arena.silu(self.linear(&weights.up, inner));
        let mut inner = self.linear(&weights.down, inner);
        if let Some(norm) = weights.post_norm {
            inner = self.normed(inner, Some(norm));
        }
        arena.add(x, arena.scale(inner, 0.5))
    }

    /// Letters: D head, H heads, N rows, C rows in a block, B blocks, S = C + 12 keys a block sees,
    /// R = 13 distances.
    fn attention(&mut self, weights: &Attention, x: Tensor) -> Tensor {
        let arena = self.arena;
        let x = weights.norm.map_or(x, |norm| self.normed(x, Some(norm)));
        let sizes = self.conformer.sizes;
        let (heads, head) = (sizes.heads, sizes.hidden / sizes.heads);
        let (rows, block) = (self.rows, self.block);
        let blocks = rows / block;
        let split = |x| arena.reshape_3d(x, head, heads, rows);
        let scaled = |x, factor, scale: Option<Tensor>| {
            let x = arena.scale(x, factor);
            scale.map_or(x, |scale| arena.mul(x, arena.reshape_3d(scale, head, 1, 1)))
        };
        let (query_scale, key_scale) = scales(head);
        let query = split(self.linear(&weights.query, x));
        let query = scaled(query, query_scale, weights.query_scale);
        let key = split(self.linear(&weights.key, x));
        let key = scaled(key, key_scale, weights.key_scale);
        let value = split(self.linear(&weights.value, x));

        let query = arena.reshape_4d(query, head, heads, block, blocks);
        let query = arena.cont(arena.permute(query, 0, 3, 1, 2)); // [D, C, B, H]
        let key = self.blocks(key);
        let key = arena.cont(arena.permute(key, 0, 3, 1, 2)); // [D, S, B, H]
        let value = self.blocks(value);
        let value = arena.cont(arena.permute(value, 1, 3, 0, 2)); // [S, D, B, H]

        let scores = arena.mul_mat(key, query); // [S, C, B, H]
        let scores = arena.add(scores, self.distance_scores(weights, query));
        let scores = arena.tanh(arena.scale(scores, 1.0 / SOFTCAP));
        let scores = arena.add(arena.scale(scores, SOFTCAP), self.mask);
        let mixed = arena.mul_mat(value, arena.soft_max(scores)); // [D, C, B, H]
        let mixed = arena.cont(arena.permute(mixed, 0, 2, 3, 1)); // [D, H, C, B]
        let mixed = arena.reshape_2d(mixed, sizes.hidden, rows);
        let mixed = self.biased(self.linear(&weights.output, mixed), weights.output_bias);
        weights
            .post_norm
            .map_or(mixed, |norm| self.normed(mixed, Some(norm)))
    }

    /// [D, H, N] with its past, as overlapping blocks [D, H, S, B]. Each consists of a block and the [`PAST`] rows
    /// before it; where there are several blocks, these are the block before it.
    fn blocks(&mut self, x: Tensor) -> Tensor {
        let (arena, block, blocks) = (self.arena, self.block, self.rows / self.block);
        let all = self.with_past(x, PAST, 2);
        let [head, heads, seen, _] = all.shape();
        if blocks == 1 {
            return arena.reshape_4d(all, head, heads, seen, 1);
        }
        let [_, nb1, nb2, _] = all.strides();
        let next = nb2 * usize::try_from(block).unwrap_or(0);
        let from = |offset| arena.view_4d(all, head, heads, block, blocks, nb1, nb2, next, offset);
        arena.concat(from(0), from(next), 2)
    }

    /// Scores of the distances [S, C, B, H]: computed for each distance [R, …] and then moved, row
    /// by row, to the key at that distance (the "relative shift" of Transformer-XL).
    fn distance_scores(&self, weights: &Attention, query: Tensor) -> Tensor {
        let arena = self.arena;
        let [head, block, blocks, heads] = query.shape();
        let seen = block + PAST;
        let flat = arena.reshape_3d(query, head, block * blocks, heads);
        let scores = arena.mul_mat(weights.distances, flat);
        let scores = arena.reshape_4d(scores, PAST + 1, block, blocks, heads);
        let fill = i32::try_from(block).unwrap_or(0);
        let scores = arena.pad(scores, fill, 0, 0, 0); // [S + 1, C, B, H]
        let scores = arena.reshape_3d(scores, (seen + 1) * block, blocks, heads);
        let [_, nb1, nb2, _] = scores.strides();
        let scores = arena.cont(arena.view_3d(scores, seen * block, blocks, heads, nb1, nb2, 0));
        arena.reshape_4d(scores, seen, block, blocks, heads)
    }

    fn depthwise(&mut self, weights: &Depthwise, x: Tensor) -> Tensor {
        let arena = self.arena;
        let hidden = self.conformer.sizes.hidden;
        let x = weights.norm.map_or(x, |norm| self.normed(x, Some(norm)));
        let x = self.linear(&weights.up, x);
        let [_, nb1, nb2, _] = x.strides();
        let half = |offset| arena.view_3d(x, hidden, self.rows, 1, nb1, nb2, offset);
        let gate = arena.sigmoid(arena.cont(half(nb1 / 2)));
        let x = arena.cont(arena.transpose(arena.mul(half(0), gate)));
        let x = self.with_past(x, CONVOLVED - 1, 0);
        let x = self.biased(arena.ssm_conv(x, weights.kernel), weights.bias);
        let x = weights
            .inner_norm
            .map_or(x, |norm| self.normed(x, Some(norm)));
        self.linear(&weights.down, arena.silu(x))
    }

    /// To the text model's width.
    fn embedder(&self, x: Tensor) -> Tensor {
        let conformer = self.conformer;
        let x = self.biased(self.linear(&conformer.output, x), conformer.output_bias);
        let x = self.normed(x, conformer.embedder_norm);
        self.linear(&conformer.embedder, x)
    }

    fn normed(&self, x: Tensor, weight: Option<Tensor>) -> Tensor {
        let x = self.arena.rms_norm(x, EPSILON);
        weight.map_or(x, |weight| self.arena.mul(x, weight))
    }

    fn biased(&self, x: Tensor, bias: Option<Tensor>) -> Tensor {
        bias.map_or(x, |bias| self.arena.add(x, bias))
    }

    fn linear(&self, linear: &Linear, x: Tensor) -> Tensor {
        linear.apply(self.arena, x)
    }
}

/// Constant factors of queries and keys (gemma4a.cpp, `q_scale` and `k_scale`). The first also cancels ln 2, the
/// softplus of a scale of 0.
#[expect(clippy::cast_precision_loss, reason = "a head is small")]
fn scales(head: i64) -> (f32, f32) {
    let ln_2 = std::f32::consts::LN_2;
    let query = 1.0 / (head as f32).sqrt() / ln_2;
    (query, 1f32.exp().ln_1p() / ln_2)
}
