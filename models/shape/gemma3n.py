"""Text models of Gemma 3n (src/models/gemma3n.cpp, which fixes the constants below)."""

import gemma3
import text
from gguf import GGMLQuantizationType as Type
from text import Family, Layer
from vocabulary import CONTROL_3

FAMILY = Family("gemma3n", "llama", CONTROL_3, "<end_of_turn>", "chat_template_3.jinja")

# The first layers, which have KV; the others read that of the last two of these.
OWN_KV = 20
# Versions of the hidden state that are carried along (AltUp).
VERSIONS = 4
# Rank of the matrices beside attention (LAuReL).
RANK = 64
# Size of a token's own embedding for each layer (PLE).
PER_LAYER = 256


def write(shape, words, quantisation, path, files=1):
    writer = text.begun(FAMILY, shape, words, quantisation)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_sliding_window_pattern([not shape.is_full(it) for it in range(shape.layers)])
    writer.add_shared_kv_layers(shape.layers - OWN_KV)
    writer.add_embedding_length_per_layer_input(PER_LAYER)
    writer.add_altup_active_idx(0)
    writer.add_altup_num_inputs(VERSIONS)
    writer.add_final_logit_softcapping(30.0)
    weights = text.tables(FAMILY, shape, quantisation)
    text.per_layer_tables(weights, PER_LAYER, shape, quantisation)
    for name in ("altup_proj", "altup_unembd_proj"):
        weights.matrices(f"{name}.weight", shape.hidden, (VERSIONS - 1, shape.hidden), Type.F16)
    for number in range(shape.layers):
        layer = Layer(weights, number)
        gemma3.attention(layer, shape, quantisation)
        versions(layer, shape.hidden)
        text.feed_forward(layer, shape.feed_forward, shape, quantisation)
        text.per_layer(layer, PER_LAYER, shape, quantisation)
    weights.write(writer, path, files)


def versions(layer, hidden):
    layer.matrix("altup_correct_coef", VERSIONS, VERSIONS, Type.F32)
    layer.norm("altup_correct_scale", hidden)
    layer.matrix("altup_predict_coef", VERSIONS, VERSIONS**2, Type.F32)
    layer.matrix("altup_router", hidden, VERSIONS, Type.F32)
    layer.norm("altup_router_norm", hidden)
    layer.matrix("laurel_l", hidden, RANK, Type.F16)
    layer.matrix("laurel_r", RANK, hidden, Type.F16)
    layer.norm("laurel_post_norm", hidden)
