"""Writes models with the shape of Gemma and random weights, to measure speed with and to test with.

How fast a model runs depends on its shape and on how its weights are stored, not on their values.
So where the real weights are not at hand, these stand in: the same architecture, tensors,
quantisation and vocabulary size, in a text GGUF and a multimodal projector GGUF. What they say is
noise. The same shape always gives the same files.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import gemma
import gemma4
import projector
import sizes
import vocabulary
from gemma4 import Gemma4
from gguf import GGMLQuantizationType as Type
from projector import Audio, Projector
from quantisation import QUANTISATIONS

# The shape of Gemma 4 E2B (google/gemma-4-E2B-it), without its images.
E2B = Gemma4(
    name="E2B shape, random weights",
    hidden=1536,
    layers=35,
    shared_layers=20,
    wide_sharing=True,
    full_every=5,
    heads=8,
    kv_heads=1,
    full_kv_heads=1,
    head=256,
    feed_forward=6144,
    per_layer=256,
    vocabulary=262144,
    window=512,
)
E2B_AUDIO = Audio(1024, 12, 8, 4096, (128, 32))


def write(shape, audio, stem, words, folder):
    """Writes `shape` in Q4_0 with a projector that only hears, as their names say that begin with `stem`."""
    path = folder / f"{stem}-q4_0.gguf"
    gemma4.write(replace(shape, vocabulary=len(words[0])), words, QUANTISATIONS["q4_0"], path)
    path = folder / f"{stem}-q4_0.mmproj.gguf"
    projector.write(Projector(audio, None), shape.hidden, shape.name, Type.BF16, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the files go")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tiny", action="store_true", help="a few megabytes with the same tensors")
    which.add_argument(
        "--sizes",
        nargs="*",
        choices=QUANTISATIONS,
        help="every size, tiny, in these quantisations or in all",
    )
    parser.add_argument("--vocabulary", choices=("invented", "gemma"), default="invented")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.sizes is not None:
        sizes.write(arguments.folder / "sizes", arguments.sizes or QUANTISATIONS)
        return
    shape, audio, stem = (E2B, E2B_AUDIO, "e2b")
    if arguments.tiny:
        shape, audio, stem = sizes.SIZES["e2b"].text, sizes.CONFORMER, "tiny"
    if arguments.vocabulary == "gemma":
        write(shape, audio, f"{stem}-gemma", gemma.vocabulary(), arguments.folder)
    else:
        write(shape, audio, stem, vocabulary.invented(shape.vocabulary), arguments.folder)


if __name__ == "__main__":
    main()
