"""Begins a run with the weights in this folder: `python restore.py RUN` writes RUN/tokenizer.json and
RUN/checkpoint.pt from the two GGUF files, so that `train.py` goes on from there.

What is not in them begins anew: the optimizer's moments and the layer that names phonemes.
"""

import sys
from pathlib import Path

import gguf
import torch

import export
import tokenizer as tokens
from model import Nano

HERE = Path(__file__).parent
# From this step on `train.py` no longer makes the sound easier.
STEP = 1200


def fill(tensors, path):
    """Puts the weights of a file into a model's parameters; returns the file."""
    file = gguf.GGUFReader(path)
    held = {tensor.name: torch.tensor(tensor.data).float() for tensor in file.tensors}
    with torch.no_grad():
        for name, weight in tensors:
            value = held[name]
            # The inverse of the softplus that `export.py` applies.
            value = torch.log(torch.expm1(value)) if name.endswith("per_dim_scale.weight") else value
            weight.copy_(value.reshape(weight.shape))
    return file


def vocabulary(file):
    """The tokenizer of a file."""
    strings = lambda name: file.get_field(f"tokenizer.ggml.{name}").contents()
    return tokens.Tokenizer(strings("tokens"), [merge.split(" ") for merge in strings("merges")])


def main(run):
    run.mkdir(parents=True, exist_ok=True)
    nano = Nano()
    file = fill(export.text_tensors(nano.text), HERE / "nano-f16.gguf")
    fill(export.audio_tensors(nano.audio), HERE / "nano-f16.mmproj.gguf")
    vocabulary(file).save(run / "tokenizer.json")
    torch.save({"model": nano.state_dict(), "step": STEP, "first": STEP}, run / "checkpoint.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
