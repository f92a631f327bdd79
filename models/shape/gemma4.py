"""Text models of Gemma 4, from E2B to 31B (src/models/gemma4.cpp)."""

from dataclasses import dataclass

import numpy as np
import text
from gguf import GGMLQuantizationType as Type
from text import Family, Layer, Text
from vocabulary import CONTROL

FAMILY = Family("gemma4", "gemma4", CONTROL, "<turn|>", "chat_template.jinja")


# Scale of the choice of experts. The larger it is, the less the expert counts that a rounding leaves out.
DECIDED = 32


@dataclass(frozen=True)
class Experts:
    """Small networks beside the dense one, of which a token takes the few that suit it."""

    count: int
    used: int
    feed_forward: int


@dataclass(frozen=True, kw_only=True)
class Gemma4(Text):
    """`head` is the size of a head in window layers; it is twice that in the full ones."""

    full_kv_heads: int  # in the full layers
    shared_layers: int = 0  # the last ones, which read the KV of earlier layers and have none
    wide_sharing: bool = False  # whether the network of the shared layers is twice as wide
    keys_are_values: bool = False  # whether the full layers have no values of their own
    per_layer: int = 0  # size of a token's own embedding for each layer (PLE)
    experts: Experts | None = None

    def is_shared(self, layer):
        return layer >= self.layers - self.shared_layers

    def head_of(self, layer):
        return self.head * (2 if self.is_full(layer) else 1)

    def kv_heads_of(self, layer):
        return self.full_kv_heads if self.is_full(layer) else self.kv_heads

    def feed_forward_of(self, layer):
        return self.feed_forward * (2 if self.wide_sharing and self.is_shared(layer) else 1)


def write(shape, words, quantisation, path, files=1):
    writer = text.begun(FAMILY, shape, words, quantisation)
    layers = range(shape.layers)
    writer.add_embedding_length_per_layer_input(shape.per_layer)
    writer.add_feed_forward_length([shape.feed_forward_of(layer) for layer in layers])
    writer.add_head_count_kv([shape.kv_heads_of(layer) for layer in layers])
    writer.add_rope_dimension_count(2 * shape.head)
    writer.add_rope_dimension_count_swa(shape.head)
    writer.add_key_length(2 * shape.head)
    writer.add_value_length(2 * shape.head)
    writer.add_key_length_swa(shape.head)
    writer.add_value_length_swa(shape.head)
    writer.add_sliding_window_pattern([not shape.is_full(layer) for layer in layers])
    writer.add_shared_kv_layers(shape.shared_layers)
    writer.add_final_logit_softcapping(30.0)
    if shape.experts:
        writer.add_expert_count(shape.experts.count)
        writer.add_expert_used_count(shape.experts.used)
        writer.add_expert_feed_forward_length(shape.experts.feed_forward)
    weights_of(shape, quantisation).write(writer, path, files)


def weights_of(shape, quantisation):
    weights = text.tables(FAMILY, shape, quantisation)
    # Full layers turn only the first quarter of a head's dimensions with the position.
    turned = np.arange(shape.head) < shape.head // 4
    weights.values("rope_freqs.weight", np.where(turned, 1.0, 1e30).astype(np.float32))
    if shape.per_layer:
        text.per_layer_tables(weights, shape.per_layer, shape, quantisation)
    for number in range(shape.layers):
        layer = Layer(weights, number)
        attention(layer, shape, quantisation)
        text.feed_forward(layer, shape.feed_forward_of(number), shape, quantisation)
        if shape.experts:
            experts(layer, shape, quantisation)
        if shape.per_layer:
            text.per_layer(layer, shape.per_layer, shape, quantisation)
        layer.norm("layer_output_scale", 1)
    return weights


def attention(layer, shape, quantisation):
    number, hidden, most = layer.number, shape.hidden, quantisation.most
    head, kv_heads = shape.head_of(number), shape.kv_heads_of(number)
    layer.norm("attn_norm", hidden)
    layer.matrix("attn_q", hidden, head * shape.heads, most)
    layer.query_norm(head)
    if not shape.is_shared(number):
        layer.matrix("attn_k", hidden, head * kv_heads, most)
        if not (shape.keys_are_values and shape.is_full(number)):
            finer = quantisation.finer_in(number, shape.layers)
            layer.matrix("attn_v", hidden, head * kv_heads, finer)
        layer.norm("attn_k_norm", head)
    layer.matrix("attn_output", head * shape.heads, hidden, most)
    layer.last_norm("post_attention_norm", hidden)


def experts(layer, shape, quantisation):
    count, width = shape.experts.count, shape.experts.feed_forward
    weights, hidden, number = layer.weights, shape.hidden, layer.number
    layer.matrix("ffn_gate_inp", hidden, count, Type.F32)
    weights.all(f"blk.{number}.ffn_gate_inp.scale", hidden, DECIDED)
    for norm in ("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"):
        layer.norm(norm, hidden)
    gate_and_up, down = layer.named("ffn_gate_up_exps"), layer.named("ffn_down_exps")
    weights.matrices(gate_and_up, hidden, (count, 2 * width), quantisation.most)
    weights.matrices(down, width, (count, hidden), quantisation.finer_in(number, shape.layers))
    weights.ones(f"blk.{number}.ffn_down_exps.scale", count)
