"""What the text models of all generations of Gemma have in common."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import vocabulary
from gguf import GGUFWriter
from weights import Weights

SEED = 4
# What a part of a layer adds to the hidden state, of which the size is about 1. The more it is, the more a rounding grows
# from layer to layer.
SHARE = 0.25
EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class Text:
    """A language model. Sizes count elements."""

    name: str
    hidden: int
    layers: int
    full_every: int  # one layer of so many attends to everything, the others to a window
    heads: int
    kv_heads: int
    head: int
    feed_forward: int
    vocabulary: int
    window: int
    context: int = 131072

    def is_full(self, layer):
        return layer % self.full_every == self.full_every - 1


@dataclass(frozen=True)
class Family:
    """What a generation of Gemma calls itself, and how it talks."""

    architecture: str
    tokenizer: str  # llama.cpp's name of it
    control: dict  # its control tokens
    turn_end: str
    template: str  # the name of its chat template's file, here


def begun(family, shape, words, quantisation):
    """A writer with what the header of every text model says."""
    writer = GGUFWriter(None, family.architecture)
    writer.add_name(shape.name)
    writer.add_file_type(quantisation.file_type)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(1e6)
    writer.add_rope_freq_base_swa(1e4)
    writer.add_sliding_window(shape.window)
    vocabulary.write(writer, family, *words)
    writer.add_chat_template(Path(__file__).with_name(family.template).read_text())
    return writer


class Layer:
    """The tensors of a layer, by the last part of their names."""

    def __init__(self, weights, number):
        self.weights, self.number = weights, number

    def named(self, name):
        return f"blk.{self.number}.{name}.weight"

    def matrix(self, name, inputs, outputs, kind):
        self.weights.matrix(self.named(name), inputs, outputs, kind)

    def norm(self, name, size):
        self.weights.ones(self.named(name), size)

    def last_norm(self, name, size):
        self.weights.all(self.named(name), size, SHARE)

    def query_norm(self, size):
        """A norm under which a query looks at some keys, and not at a single one, where attention has no scale."""
        self.weights.all(self.named("attn_q_norm"), size, 2 * size**-0.5)


def tables(family, shape, quantisation):
    """Weights of which the table of tokens and the last norm are there already. No control token is ever the likeliest."""
    weights = Weights(SEED)
    name, kind = "token_embd.weight", quantisation.tables
    weights.matrix(name, shape.hidden, shape.vocabulary, kind, faint=len(family.control))
    # Input and output share the table of tokens; without random signs the likeliest token would
    # always be the one that was just read.
    signs = weights.random.choice(np.array([-1, 1], np.float32), shape.hidden)
    weights.values("output_norm.weight", signs)
    return weights


def per_layer_tables(weights, size, shape, quantisation):
    """The tables of a token's own embedding of this `size` for each layer (PLE)."""
    all_layers = size * shape.layers
    weights.matrix("per_layer_token_embd.weight", all_layers, shape.vocabulary, quantisation.tables)
    weights.matrix("per_layer_model_proj.weight", shape.hidden, all_layers, quantisation.most)
    weights.ones("per_layer_proj_norm.weight", size)


def per_layer(layer, size, shape, quantisation):
    layer.matrix("inp_gate", shape.hidden, size, quantisation.most)
    layer.matrix("proj", size, shape.hidden, quantisation.most)
    layer.last_norm("post_norm", shape.hidden)


def feed_forward(layer, size, shape, quantisation):
    layer.norm("ffn_norm", shape.hidden)
    layer.matrix("ffn_gate", shape.hidden, size, quantisation.most)
    layer.matrix("ffn_up", shape.hidden, size, quantisation.most)
    layer.matrix("ffn_down", size, shape.hidden, quantisation.finer_in(layer.number, shape.layers))
    layer.last_norm("post_ffw_norm", shape.hidden)
