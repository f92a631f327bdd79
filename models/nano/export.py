"""Writes the two GGUF files: `python export.py RUN [CHECKPOINT]` makes RUN/nano-f16.gguf and
RUN/nano-f16.mmproj.gguf, and with `--q8` RUN/nano-q8_0.gguf, and prints their SHA-256."""

import hashlib
import sys
from pathlib import Path

import gguf
import numpy as np
import torch

import tokenizer as tokens
from model import EPS, Nano, Shape as s

LICENCE = "Apache-2.0"


def add(writer, name, weight, quantised=None):
    """A tensor: matrices in 16 bits (or as `quantised` says), all else in 32."""
    array = weight.detach().float().numpy()
    if array.ndim < 2 or "conv_dw" in name:
        writer.add_tensor(name, array)
    elif quantised and array.ndim == 2:
        writer.add_tensor(name, gguf.quants.quantize(array, quantised), raw_dtype=quantised)
    else:
        writer.add_tensor(name, array.astype(np.float16))


def text(model, vocabulary, path, quantised=None):
    """The language model, architecture `gemma4`."""
    w = gguf.GGUFWriter(path, "gemma4")
    w.add_name("Nano")
    w.add_license(LICENCE)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if quantised else gguf.LlamaFileType.MOSTLY_F16)
    w.add_block_count(len(s.sliding))
    w.add_context_length(8192)
    w.add_embedding_length(s.hidden)
    w.add_feed_forward_length(s.ffn)
    w.add_head_count(s.heads)
    w.add_head_count_kv(1)
    w.add_layer_norm_rms_eps(EPS)
    w.add_rope_freq_base(s.base[False])
    w.add_float32("gemma4.rope.freq_base_swa", s.base[True])
    w.add_rope_dimension_count(s.head[False])
    w.add_uint32("gemma4.rope.dimension_count_swa", s.head[True])
    w.add_key_length(s.head[False])
    w.add_value_length(s.head[False])
    w.add_uint32("gemma4.attention.key_length_swa", s.head[True])
    w.add_uint32("gemma4.attention.value_length_swa", s.head[True])
    w.add_sliding_window(s.window)
    w.add_array("gemma4.attention.sliding_window_pattern", s.sliding)
    w.add_uint32("gemma4.attention.shared_kv_layers", len(s.sliding) - s.own_kv)
    w.add_uint32("gemma4.embedding_length_per_layer_input", s.ple)
    w.add_final_logit_softcapping(s.softcap)
    ids = vocabulary.ids
    w.add_tokenizer_model("gemma4")
    w.add_token_list(vocabulary.tokens)
    w.add_token_scores([0.0] * len(vocabulary.tokens))
    w.add_token_types(vocabulary.types())
    w.add_token_merges([" ".join(merge) for merge in vocabulary.merges])
    w.add_bos_token_id(ids["<bos>"])
    w.add_eos_token_id(ids["<eos>"])
    w.add_unk_token_id(ids["<unk>"])
    w.add_pad_token_id(ids["<pad>"])
    w.add_mask_token_id(ids["<mask>"])
    w.add_eot_token_id(ids["<turn|>"])
    w.add_add_bos_token(True)
    w.add_add_space_prefix(False)
    w.add_chat_template(tokens.TEMPLATE)

    put = lambda name, weight: add(w, name + ".weight", weight, quantised)
    put("token_embd", model.embed.weight)
    put("per_layer_token_embd", model.ple.weight)
    put("per_layer_model_proj", model.ple_proj.weight)
    put("per_layer_proj_norm", model.ple_norm)
    put("output_norm", model.final)
    # Full layers turn a quarter of their pairs: the others' frequency is divided away.
    half = s.head[False] // 2
    put("rope_freqs", torch.tensor([1.0] * (half // 4) + [1e30] * (half - half // 4)))
    for at, layer in enumerate(model.layers):
        name = f"blk.{at}."
        put(name + "attn_q", layer.q.weight)
        if layer.own_kv:
            put(name + "attn_k", layer.k.weight)
            put(name + "attn_v", layer.v.weight)
            put(name + "attn_k_norm", layer.k_norm)
        put(name + "attn_output", layer.out.weight)
        put(name + "attn_q_norm", layer.q_norm)
        put(name + "attn_norm", layer.attn_norm)
        put(name + "post_attention_norm", layer.attn_post)
        put(name + "ffn_norm", layer.ffn_norm)
        put(name + "post_ffw_norm", layer.ffn_post)
        put(name + "ffn_gate", layer.gate.weight)
        put(name + "ffn_up", layer.up.weight)
        put(name + "ffn_down", layer.down.weight)
        put(name + "inp_gate", layer.ple_gate.weight)
        put(name + "proj", layer.ple_out.weight)
        put(name + "post_norm", layer.ple_post)
        put(name + "layer_output_scale", layer.scale)
    finish(w)


def audio(model, path):
    """The encoder, projector type `gemma4a`."""
    w = gguf.GGUFWriter(path, "clip")
    w.add_name("Nano mmproj")
    w.add_type("mmproj")
    w.add_license(LICENCE)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    w.add_bool("clip.has_audio_encoder", True)
    w.add_string("clip.audio.projector_type", "gemma4a")
    w.add_uint32("clip.audio.embedding_length", s.audio)
    w.add_uint32("clip.audio.feed_forward_length", s.audio_ffn)
    w.add_uint32("clip.audio.block_count", s.audio_layers)
    w.add_uint32("clip.audio.attention.head_count", s.audio_heads)
    w.add_uint32("clip.audio.projection_dim", s.hidden)
    w.add_float32("clip.audio.attention.layer_norm_epsilon", EPS)
    w.add_uint32("clip.audio.num_mel_bins", s.mels)
    w.add_bool("clip.use_silu", True)

    put = lambda name, weight, end=".weight": add(w, name + end, weight)
    put("a.conv1d.0", model.conv1.weight)
    put("a.conv1d.0.norm", model.norm1)
    put("a.conv1d.1", model.conv2.weight)
    put("a.conv1d.1.norm", model.norm2)
    put("a.input_projection", model.in_.weight)
    put("a.pre_encode.out", model.out.weight)
    put("a.pre_encode.out", model.out.bias, ".bias")
    put("mm.a.input_projection", model.project.weight)
    for at, layer in enumerate(model.layers):
        name, attention, convolution = f"a.blk.{at}.", layer.attention, layer.convolution
        for part, weight in (("q", attention.q), ("k", attention.k), ("v", attention.v), ("out", attention.out), ("k_rel", attention.rel)):
            put(name + "attn_" + part, weight.weight)
        put(name + "attn_pre_norm", attention.pre)
        put(name + "attn_post_norm", attention.post)
        put(name + "per_dim_scale", torch.nn.functional.softplus(attention.per_dim))
        put(name + "ln2", layer.norm)
        for feed, end in ((layer.feed1, ""), (layer.feed2, "_1")):
            put(name + "ffn_norm" + end, feed.norm)
            put(name + "ffn_up" + end, feed.up.weight)
            put(name + "ffn_down" + end, feed.down.weight)
            put(name + "ffn_post_norm" + end, feed.post)
        # llama.cpp reads these two names the other way round (clip.cpp: "swapped in GGUF").
        put(name + "conv_norm", convolution.norm)
        put(name + "norm_conv", convolution.mid)
        put(name + "conv_pw1", convolution.in_.weight)
        put(name + "conv_pw2", convolution.out.weight)
        put(name + "conv_dw", convolution.taps)
    finish(w)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    run = Path(sys.argv[1])
    checkpoint = sys.argv[2] if len(sys.argv) > 2 and not sys.argv[2].startswith("--") else "model.pt"
    nano = Nano()
    nano.load_state_dict(torch.load(run / checkpoint)["model"])
    words = tokens.Tokenizer.load(run / "tokenizer.json")
    files = [run / "nano-f16.gguf", run / "nano-f16.mmproj.gguf"]
    text(nano.text, words, files[0])
    audio(nano.audio, files[1])
    if "--q8" in sys.argv:
        files.append(run / "nano-q8_0.gguf")
        text(nano.text, words, files[2], gguf.GGMLQuantizationType.Q8_0)
    for path in files:
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path.name)
