"""Projectors of Gemma 4: what turns sound and pictures into soft tokens (tools/mtmd/clip.cpp)."""

from dataclasses import dataclass

import numpy as np
from gguf import GGUFWriter, LlamaFileType
from gguf import GGMLQuantizationType as Type
from text import EPSILON, SEED
from weights import Weights

# Samples that become one soft token where there is no encoder.
FRAME = 640


@dataclass(frozen=True)
class Audio:
    """The conformer that turns sound into soft tokens (`gemma4a`)."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    channels: tuple  # of the two convolutions, each of which halves time and frequency
    mel_bins: int = 128


@dataclass(frozen=True)
class Unified:
    """No encoder (`gemma4ua`, `gemma4uv`)."""


@dataclass(frozen=True)
class Vision:
    """The transformer that turns pictures into soft tokens (`gemma4v`)."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int


# Sides of a picture, of a patch of it, and of the square of patches that becomes one soft token; and patches in the table
# of positions.
PICTURE, PATCH, MERGED, POSITIONS = 224, 16, 3, 64


@dataclass(frozen=True)
class Projector:
    audio: Audio | Unified | None
    vision: Vision | Unified | None


def write(shape, output, name, kind, path):
    """Writes a projector whose matrices are stored as `kind`, BF16 or F16, for a text model of width `output`."""
    writer = GGUFWriter(None, "clip")
    writer.add_name(name)
    writer.add_type("mmproj")
    writer.add_file_type(LlamaFileType[f"MOSTLY_{kind.name}"])
    writer.add_vision_use_silu(True)
    weights = Weights(SEED)
    match shape.audio:
        case Audio():
            conformer_header(writer, shape.audio, output)
            conformer(weights, shape.audio, output, kind)
        case Unified():
            audio_header(writer, "gemma4ua", output, FRAME, (output, 0, 1, output))
            weights.matrix("mm.a.input_projection.weight", FRAME, output, kind)
    match shape.vision:
        case Vision():
            vision_header(writer, "gemma4v", output, shape.vision)
            vision(weights, shape.vision, output, kind)
        case Unified():
            vision_header(writer, "gemma4uv", output, Vision(output, 0, 1, output))
            unified_vision(weights, output, kind)
    weights.write(writer, path)


def audio_header(writer, kind, output, mel_bins, sizes):
    hidden, layers, heads, feed_forward = sizes
    writer.add_clip_has_audio_encoder(True)
    writer.add_clip_audio_projector_type(kind)
    writer.add_audio_embedding_length(hidden)
    writer.add_audio_feed_forward_length(feed_forward)
    writer.add_audio_block_count(layers)
    writer.add_audio_head_count(heads)
    writer.add_audio_attention_layernorm_eps(EPSILON)
    writer.add_audio_num_mel_bins(mel_bins)
    writer.add_audio_projection_dim(output)


def conformer_header(writer, shape, output):
    sizes = (shape.hidden, shape.layers, shape.heads, shape.feed_forward)
    audio_header(writer, "gemma4a", output, shape.mel_bins, sizes)


def conformer(weights, shape, output, kind):
    before = 1
    for index, channels in enumerate(shape.channels):
        weights.kernel(f"a.conv1d.{index}.weight", (channels, before, 3, 3), Type.F16)
        weights.ones(f"a.conv1d.{index}.norm.weight", channels)
        before = channels
    features = before * shape.mel_bins // 4
    weights.matrix("a.input_projection.weight", features, shape.hidden, kind)
    weights.matrix("a.pre_encode.out.weight", shape.hidden, output, kind)
    weights.values("a.pre_encode.out.bias", np.zeros(output, np.float32))
    weights.matrix("mm.a.input_projection.weight", output, output, kind)
    for layer in range(shape.layers):
        conformer_layer(weights, shape, layer, kind)


def conformer_layer(weights, shape, layer, kind):
    def matrix(name, inputs, outputs):
        weights.matrix(f"a.blk.{layer}.{name}.weight", inputs, outputs, kind)

    def norm(name, size):
        weights.ones(f"a.blk.{layer}.{name}.weight", size)

    hidden = shape.hidden
    for name in ("attn_q", "attn_k", "attn_v", "attn_out", "attn_k_rel"):
        matrix(name, hidden, hidden)
    norm("per_dim_scale", hidden // shape.heads)
    for name in ("attn_pre_norm", "attn_post_norm", "ln2"):
        norm(name, hidden)
    for half in ("", "_1"):
        norm(f"ffn_norm{half}", hidden)
        matrix(f"ffn_up{half}", hidden, shape.feed_forward)
        matrix(f"ffn_down{half}", shape.feed_forward, hidden)
        norm(f"ffn_post_norm{half}", hidden)
    norm("conv_norm", hidden)
    norm("norm_conv", hidden)
    matrix("conv_pw1", hidden, 2 * hidden)
    matrix("conv_pw2", hidden, hidden)
    weights.kernel(f"a.blk.{layer}.conv_dw.weight", (hidden, 5), Type.F32)


def vision_header(writer, kind, output, shape):
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_vision_projector_type(kind)
    writer.add_vision_embedding_length(shape.hidden)
    writer.add_vision_feed_forward_length(shape.feed_forward)
    writer.add_vision_block_count(shape.layers)
    writer.add_vision_head_count(shape.heads)
    writer.add_vision_attention_layernorm_eps(EPSILON)
    writer.add_vision_projection_dim(output)
    writer.add_vision_image_size(PICTURE)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_projector_scale_factor(MERGED)
    writer.add_vision_image_mean([0.0] * 3)
    writer.add_vision_image_std([1.0] * 3)


def vision(weights, shape, output, kind):
    hidden = shape.hidden
    weights.kernel("v.patch_embd.weight", (hidden, 3, PATCH, PATCH), Type.F32)
    weights.kernel("v.position_embd.weight", (2, POSITIONS, hidden), Type.F32)
    weights.matrix("mm.input_projection.weight", hidden, output, kind)
    for layer in range(shape.layers):
        name = f"v.blk.{layer}"
        for matrix in ("attn_q", "attn_k", "attn_v", "attn_out"):
            weights.matrix(f"{name}.{matrix}.weight", hidden, hidden, kind)
        for norm in ("attn_q_norm", "attn_k_norm"):
            weights.ones(f"{name}.{norm}.weight", hidden // shape.heads)
        for norm in ("ln1", "ln2", "attn_post_norm", "ffn_post_norm"):
            weights.ones(f"{name}.{norm}.weight", hidden)
        for matrix in ("ffn_gate", "ffn_up"):
            weights.matrix(f"{name}.{matrix}.weight", hidden, shape.feed_forward, kind)
        weights.matrix(f"{name}.ffn_down.weight", shape.feed_forward, hidden, kind)


def unified_vision(weights, output, kind):
    patch = 3 * (PATCH * MERGED) ** 2
    weights.matrix("v.patch_embd.weight", patch, output, Type.F32)
    weights.values("v.patch_embd.bias", np.zeros(output, np.float32))
    for nth, size in enumerate((patch, output, output), start=1):
        weights.ones(f"v.patch_norm.{nth}.weight", size)
        weights.values(f"v.patch_norm.{nth}.bias", np.zeros(size, np.float32))
    weights.kernel("v.position_embd.weight", (2, POSITIONS, output), Type.F32)
    weights.matrix("mm.input_projection.weight", output, output, kind)
