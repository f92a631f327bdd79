"""Every size of Gemma, in a few megabytes: the kinds of layers, their order and all kinds of tensors of the real one, in
small numbers, with small widths and random weights. Q6_K and its like come in rows of 256, so none is narrower.
"""

from dataclasses import dataclass
from types import ModuleType

import gemma3
import gemma3n
import gemma4
import projector
import vocabulary
from gemma4 import Experts, Gemma4
from gguf import GGMLQuantizationType as Type
from projector import Audio, Projector, Unified, Vision
from quantisation import QUANTISATIONS
from text import Text

# Shorter than the prompts of tests.
WINDOW = 64

# Files that a model is cut into once, and how it is stored then.
CUT = (3, "q4_0")

PROJECTORS = (Type.BF16, Type.F16)


@dataclass(frozen=True)
class Size:
    """A model: which module writes its text model, and its projector."""

    module: ModuleType
    text: Text
    projector: Projector | None = None


def tiny(name, layers, full_every, **others):
    return {
        "name": f"tiny {name}, random weights",
        "hidden": 256,
        "layers": layers,
        "full_every": full_every,
        "heads": 4,
        "head": 64,
        "feed_forward": 512,
        "vocabulary": 4096,
        "window": WINDOW,
    } | others


CONFORMER = Audio(128, 2, 4, 512, (32, 16))
EYES = Vision(128, 2, 2, 256)

# The structures are those that llama.cpp knows (src/models, tools/mtmd/models), as google/gemma-4-E2B-it, -E4B-it, -26B-A4B-it,
# -31B-it, gemma-3-1b-it and gemma-3n-E2B-it have them. The text model of 12B is taken to be built like that of 31B.
SIZES = {
    "e2b": Size(
        gemma4,
        Gemma4(
            **tiny("E2B", 10, 5, kv_heads=1, full_kv_heads=1),
            shared_layers=5,
            wide_sharing=True,
            per_layer=32,
        ),
        Projector(CONFORMER, EYES),
    ),
    "e4b": Size(
        gemma4,
        Gemma4(
            **tiny("E4B", 12, 6, kv_heads=2, full_kv_heads=2),
            shared_layers=6,
            per_layer=32,
        ),
        Projector(CONFORMER, EYES),
    ),
    "12b": Size(
        gemma4,
        Gemma4(**tiny("12B", 12, 6, kv_heads=2, full_kv_heads=1), keys_are_values=True),
        Projector(Unified(), Unified()),
    ),
    "26b-a4b": Size(
        gemma4,
        Gemma4(
            **tiny("26B-A4B", 12, 6, kv_heads=2, full_kv_heads=1, feed_forward=256),
            keys_are_values=True,
            experts=Experts(16, 8, 64),
        ),
        Projector(None, EYES),
    ),
    "31b": Size(
        gemma4,
        Gemma4(**tiny("31B", 18, 6, kv_heads=2, full_kv_heads=1), keys_are_values=True),
        Projector(None, EYES),
    ),
    "gemma3": Size(gemma3, Text(**tiny("Gemma 3", 12, 6, kv_heads=1))),
    "gemma3n": Size(
        gemma3n,
        Text(**tiny("Gemma 3n", 30, 5, kv_heads=2, feed_forward=256, vocabulary=1024)),
    ),
}


def write(folder, quantisations):
    """Writes every size in these quantisations into `folder`: SIZE-QUANTISATION.gguf; once cut into several files; and
    the projectors, SIZE-bf16.mmproj.gguf and SIZE-f16.mmproj.gguf."""
    folder.mkdir(exist_ok=True)
    for name, size in SIZES.items():
        shape = size.text
        words = vocabulary.invented(shape.vocabulary, size.module.FAMILY.control)
        for kind in quantisations:
            path = folder / f"{name}-{kind}.gguf"
            size.module.write(shape, words, QUANTISATIONS[kind], path)
        files, kind = CUT
        path = folder / f"{name}-{kind}.gguf"
        size.module.write(shape, words, QUANTISATIONS[kind], path, files)
        if size.projector:
            for kind in PROJECTORS:
                path = folder / f"{name}-{kind.name.lower()}.mmproj.gguf"
                projector.write(size.projector, shape.hidden, shape.name, kind, path)
