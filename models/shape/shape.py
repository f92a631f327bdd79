"""Writes a model with the shape of Gemma 4 E2B and random weights, to measure speed with.

How fast a model runs depends on its shape and on how its weights are stored, not on their values.
So where the real weights are not at hand, this one stands in: the same architecture, tensors,
quantisation and vocabulary size, in a text GGUF and a multimodal projector GGUF. What it says is
noise. The same shape always gives the same files.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import gemma
import vocabulary
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, LlamaFileType
from weights import Weights

SEED = 4
EPSILON = 1e-6
TEMPLATE = Path(__file__).with_name("chat_template.jinja")


@dataclass(frozen=True)
class Text:
    """The language model. Sizes count elements."""

    name: str
    hidden: int
    layers: int
    shared_layers: int  # the last ones, which read the KV of earlier layers and have none
    full_every: int  # one layer of so many attends to everything, the others to a window
    heads: int
    head: int  # size of a head in window layers; twice that in the full ones
    feed_forward: int  # twice that in the shared layers
    per_layer: int  # size of a token's own embedding for each layer (PLE)
    vocabulary: int
    window: int = 512
    context: int = 131072

    def is_full(self, layer):
        return layer % self.full_every == self.full_every - 1

    def is_shared(self, layer):
        return layer >= self.layers - self.shared_layers

    def head_of(self, layer):
        return self.head * (2 if self.is_full(layer) else 1)

    def feed_forward_of(self, layer):
        return self.feed_forward * (2 if self.is_shared(layer) else 1)


@dataclass(frozen=True)
class Audio:
    """The conformer that turns sound into soft tokens."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    channels: tuple  # of the two convolutions, each of which halves time and frequency
    mel_bins: int = 128


# The shape of Gemma 4 E2B (google/gemma-4-E2B-it), without its images.
E2B = (
    Text("E2B shape, random weights", 1536, 35, 20, 5, 8, 256, 6144, 256, 262144),
    Audio(1024, 12, 8, 4096, (128, 32)),
)

# The smallest that still has every kind of tensor: Q6_K comes in rows of 256.
TINY = (
    Text("tiny shape, random weights", 256, 8, 4, 4, 4, 64, 512, 32, 4096),
    Audio(128, 2, 4, 512, (32, 16)),
)


def write_text(shape, words, path):
    writer = GGUFWriter(None, "gemma4")
    writer.add_name(shape.name)
    writer.add_file_type(LlamaFileType.MOSTLY_Q4_0)
    layers = range(shape.layers)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_embedding_length_per_layer_input(shape.per_layer)
    writer.add_feed_forward_length([shape.feed_forward_of(layer) for layer in layers])
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(1e6)
    writer.add_rope_freq_base_swa(1e4)
    writer.add_rope_dimension_count(2 * shape.head)
    writer.add_rope_dimension_count_swa(shape.head)
    writer.add_key_length(2 * shape.head)
    writer.add_value_length(2 * shape.head)
    writer.add_key_length_swa(shape.head)
    writer.add_value_length_swa(shape.head)
    writer.add_sliding_window(shape.window)
    writer.add_sliding_window_pattern([not shape.is_full(layer) for layer in layers])
    writer.add_shared_kv_layers(shape.shared_layers)
    writer.add_final_logit_softcapping(30.0)
    vocabulary.write(writer, *words)
    writer.add_chat_template(TEMPLATE.read_text())
    text_weights(shape).write(writer, path)


def text_weights(shape):
    weights = Weights(SEED)
    hidden, all_layers = shape.hidden, shape.per_layer * shape.layers
    # Full layers turn only the first quarter of a head's dimensions with the position.
    turned = np.arange(shape.head) < shape.head // 4
    weights.values("rope_freqs.weight", np.where(turned, 1.0, 1e30).astype(np.float32))
    weights.matrix("token_embd.weight", hidden, shape.vocabulary, Type.Q6_K)
    weights.matrix("per_layer_token_embd.weight", all_layers, shape.vocabulary, Type.Q6_K)
    weights.matrix("per_layer_model_proj.weight", hidden, all_layers, Type.Q4_0)
    weights.ones("per_layer_proj_norm.weight", shape.per_layer)
    # Input and output share the table of tokens; without random signs the likeliest token would
    # always be the one that was just read.
    signs = weights.random.choice(np.array([-1, 1], np.float32), hidden)
    weights.values("output_norm.weight", signs)
    for layer in range(shape.layers):
        add_text_layer(weights, shape, layer)
    return weights


def add_text_layer(weights, shape, layer):
    def matrix(name, inputs, outputs):
        weights.matrix(f"blk.{layer}.{name}.weight", inputs, outputs, Type.Q4_0)

    def norm(name, size):
        weights.ones(f"blk.{layer}.{name}.weight", size)

    hidden, head, per_layer = shape.hidden, shape.head_of(layer), shape.per_layer
    feed_forward = shape.feed_forward_of(layer)
    norm("attn_norm", hidden)
    matrix("attn_q", hidden, head * shape.heads)
    norm("attn_q_norm", head)
    if not shape.is_shared(layer):
        matrix("attn_k", hidden, head)
        matrix("attn_v", hidden, head)
        norm("attn_k_norm", head)
    matrix("attn_output", head * shape.heads, hidden)
    norm("post_attention_norm", hidden)
    norm("ffn_norm", hidden)
    matrix("ffn_gate", hidden, feed_forward)
    matrix("ffn_up", hidden, feed_forward)
    matrix("ffn_down", feed_forward, hidden)
    norm("post_ffw_norm", hidden)
    matrix("inp_gate", hidden, per_layer)
    matrix("proj", per_layer, hidden)
    norm("post_norm", hidden)
    norm("layer_output_scale", 1)


def write_projector(shape, output, name, path):
    writer = GGUFWriter(None, "clip")
    writer.add_name(name)
    writer.add_type("mmproj")
    writer.add_file_type(LlamaFileType.MOSTLY_BF16)
    writer.add_clip_has_audio_encoder(True)
    writer.add_string("clip.audio.projector_type", "gemma4a")
    writer.add_audio_embedding_length(shape.hidden)
    writer.add_audio_feed_forward_length(shape.feed_forward)
    writer.add_audio_block_count(shape.layers)
    writer.add_audio_head_count(shape.heads)
    writer.add_audio_attention_layernorm_eps(EPSILON)
    writer.add_audio_num_mel_bins(shape.mel_bins)
    writer.add_audio_projection_dim(output)
    writer.add_vision_use_silu(True)
    projector_weights(shape, output).write(writer, path)


def projector_weights(shape, output):
    weights = Weights(SEED)
    before = 1
    for index, channels in enumerate(shape.channels):
        weights.kernel(f"a.conv1d.{index}.weight", (channels, before, 3, 3), Type.F16)
        weights.ones(f"a.conv1d.{index}.norm.weight", channels)
        before = channels
    features = before * shape.mel_bins // 4
    weights.matrix("a.input_projection.weight", features, shape.hidden, Type.BF16)
    weights.matrix("a.pre_encode.out.weight", shape.hidden, output, Type.BF16)
    weights.values("a.pre_encode.out.bias", np.zeros(output, np.float32))
    weights.matrix("mm.a.input_projection.weight", output, output, Type.BF16)
    for layer in range(shape.layers):
        add_audio_layer(weights, shape, layer)
    return weights


def add_audio_layer(weights, shape, layer):
    def matrix(name, inputs, outputs):
        weights.matrix(f"a.blk.{layer}.{name}.weight", inputs, outputs, Type.BF16)

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the two files go")
    parser.add_argument("--tiny", action="store_true", help="a few megabytes with the same tensors")
    parser.add_argument("--vocabulary", choices=("invented", "gemma"), default="invented")
    arguments = parser.parse_args()
    text, audio = TINY if arguments.tiny else E2B
    stem = "tiny" if arguments.tiny else "e2b"
    if arguments.vocabulary == "gemma":
        words = gemma.vocabulary()
        text = replace(text, vocabulary=len(words[0]))
        stem += "-gemma"
    else:
        words = vocabulary.invented(text.vocabulary)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_text(text, words, arguments.folder / f"{stem}-q4_0.gguf")
    projector = arguments.folder / f"{stem}-q4_0.mmproj.gguf"
    write_projector(audio, text.hidden, text.name, projector)


if __name__ == "__main__":
    main()
