"""Text models of Gemma 3 (src/models/gemma3.cpp)."""

import text
from text import Family, Layer
from vocabulary import CONTROL_3

FAMILY = Family("gemma3", "llama", CONTROL_3, "<end_of_turn>", "chat_template_3.jinja")


def write(shape, words, quantisation, path, files=1):
    writer = text.begun(FAMILY, shape, words, quantisation)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_sliding_window_pattern([not shape.is_full(it) for it in range(shape.layers)])
    weights = text.tables(FAMILY, shape, quantisation)
    for number in range(shape.layers):
        layer = Layer(weights, number)
        attention(layer, shape, quantisation)
        text.feed_forward(layer, shape.feed_forward, shape, quantisation)
    weights.write(writer, path, files)


def attention(layer, shape, quantisation):
    """The tensors of attention, of which every layer has all."""
    hidden, head, most = shape.hidden, shape.head, quantisation.most
    finer = quantisation.finer_in(layer.number, shape.layers)
    layer.norm("attn_norm", hidden)
    layer.matrix("attn_q", hidden, head * shape.heads, most)
    layer.matrix("attn_k", hidden, head * shape.kv_heads, most)
    layer.matrix("attn_v", hidden, head * shape.kv_heads, finer)
    layer.query_norm(head)
    layer.norm("attn_k_norm", head)
    layer.matrix("attn_output", head * shape.heads, hidden, most)
    layer.last_norm("post_attention_norm", hidden)
