"""Writes the two GGUF files: `python export.py RUN [CHECKPOINT]` makes RUN/nano-f16.gguf and
RUN/nano-f16.mmproj.gguf, and with `--q8` RUN/nano-q8_0.gguf, and prints their SHA-256."""

import hashlib
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from torch.nn.functional import softplus

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


def text_tensors(model):
    """What llama.cpp calls each weight of the language model."""
    yield "token_embd.weight", model.embed.weight
    yield "per_layer_token_embd.weight", model.ple.weight
    yield "per_layer_model_proj.weight", model.ple_proj.weight
    yield "per_layer_proj_norm.weight", model.ple_norm
    yield "output_norm.weight", model.final
    for at, layer in enumerate(model.layers):
        parts = {
            "attn_q": layer.q.weight, "attn_output": layer.out.weight, "attn_q_norm": layer.q_norm,
            "attn_norm": layer.attn_norm, "post_attention_norm": layer.attn_post, "ffn_norm": layer.ffn_norm,
            "post_ffw_norm": layer.ffn_post, "ffn_gate": layer.gate.weight, "ffn_up": layer.up.weight,
            "ffn_down": layer.down.weight, "inp_gate": layer.ple_gate.weight, "proj": layer.ple_out.weight,
            "post_norm": layer.ple_post, "layer_output_scale": layer.scale,
        }
        if layer.own_kv:
            parts |= {"attn_k": layer.k.weight, "attn_v": layer.v.weight, "attn_k_norm": layer.k_norm}
        for name, weight in parts.items():
            yield f"blk.{at}.{name}.weight", weight


def audio_tensors(model):
    """What llama.cpp calls each weight of the encoder; `per_dim_scale` is written as its softplus."""
    yield "a.conv1d.0.weight", model.conv1.weight
    yield "a.conv1d.0.norm.weight", model.norm1
    yield "a.conv1d.1.weight", model.conv2.weight
    yield "a.conv1d.1.norm.weight", model.norm2
    yield "a.input_projection.weight", model.in_.weight
    yield "a.pre_encode.out.weight", model.out.weight
    yield "a.pre_encode.out.bias", model.out.bias
    yield "mm.a.input_projection.weight", model.project.weight
    for at, layer in enumerate(model.layers):
        attention, convolution = layer.attention, layer.convolution
        parts = {
            "attn_q": attention.q.weight, "attn_k": attention.k.weight, "attn_v": attention.v.weight,
            "attn_out": attention.out.weight, "attn_k_rel": attention.rel.weight, "attn_pre_norm": attention.pre,
            "attn_post_norm": attention.post, "per_dim_scale": attention.per_dim, "ln2": layer.norm,
            # llama.cpp reads these two names the other way round (clip.cpp: "swapped in GGUF").
            "conv_norm": convolution.norm, "norm_conv": convolution.mid,
            "conv_pw1": convolution.in_.weight, "conv_pw2": convolution.out.weight, "conv_dw": convolution.taps,
        }
        for feed, end in ((layer.feed1, ""), (layer.feed2, "_1")):
            parts |= {"ffn_norm" + end: feed.norm, "ffn_up" + end: feed.up.weight,
                      "ffn_down" + end: feed.down.weight, "ffn_post_norm" + end: feed.post}
        for name, weight in parts.items():
            yield f"a.blk.{at}.{name}.weight", weight


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
    # It was trained on single questions: gemmad tells it neither what was said before nor the time.
    w.add_bool("gemmad.bare_questions", True)

    for name, weight in text_tensors(model):
        add(w, name, weight, quantised)
    # Full layers turn a quarter of their pairs: the others' frequency is divided away.
    half = s.head[False] // 2
    add(w, "rope_freqs.weight", torch.tensor([1.0] * (half // 4) + [1e30] * (half - half // 4)))
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

    for name, weight in audio_tensors(model):
        add(w, name, softplus(weight) if name.endswith("per_dim_scale.weight") else weight)
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
    nano.load_state_dict(torch.load(run / checkpoint, map_location="cpu")["model"])
    words = tokens.Tokenizer.load(run / "tokenizer.json")
    files = [run / "nano-f16.gguf", run / "nano-f16.mmproj.gguf"]
    text(nano.text, words, files[0])
    audio(nano.audio, files[1])
    if "--q8" in sys.argv:
        files.append(run / "nano-q8_0.gguf")
        text(nano.text, words, files[2], gguf.GGMLQuantizationType.Q8_0)
    for path in files:
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path.name)
