"""Random tensors in the storage types of GGUF.

Quantised weights are not computed from floats: every bit pattern is a valid block, so random bytes
under a chosen scale are random weights of a chosen size.
"""

from functools import cache

import numpy as np
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize

# Where in a block the half-precision scale of its weights lies, and where that of what is added to or taken from
# each of them (ggml-common.h).
SCALES = {
    Type.Q4_0: (0, None),
    Type.Q4_1: (0, 2),
    Type.Q5_0: (0, None),
    Type.Q5_1: (0, 2),
    Type.Q8_0: (0, None),
    Type.Q2_K: (80, 82),
    Type.Q3_K: (108, None),
    Type.Q4_K: (0, 2),
    Type.Q5_K: (0, 2),
    Type.Q6_K: (208, None),
    Type.IQ4_NL: (0, None),
    Type.IQ4_XS: (0, None),
}

# What llama.cpp's quantiser takes instead where rows cannot be cut into blocks of 256 (llama-quant.cpp,
# `tensor_type_fallback`).
SMALLER = {
    Type.Q2_K: Type.Q4_0,
    Type.Q3_K: Type.Q4_0,
    Type.Q4_K: Type.Q5_0,
    Type.Q5_K: Type.Q5_1,
    Type.Q6_K: Type.Q8_0,
    Type.IQ4_XS: Type.IQ4_NL,
}

# Blocks by which the scale of random ones is found.
SAMPLED = 1024


class Weights:
    """Tensors to be written, each made when its turn comes, since all of them may not fit in memory.
    Shapes are numpy's, slowest dimension first."""

    def __init__(self, seed):
        self.random = np.random.Generator(np.random.SFC64(seed))
        self.tensors = []

    def ones(self, name, size):
        self.all(name, size, 1)

    def all(self, name, size, value):
        self.values(name, np.full(size, value, np.float32))

    def values(self, name, values):
        self.add(name, values.shape, Type.F32, lambda: values)

    def matrix(self, name, inputs, outputs, kind, faint=0):
        """A matrix under which inputs of size 1 become outputs of size about 1, but the first, so many, a hundredth of
        that."""
        self.matrices(name, inputs, (outputs,), kind, faint)

    def matrices(self, name, inputs, outputs, kind, faint=0):
        """Matrices like `matrix`: one for each but the last of the sizes in `outputs`."""
        block, _ = GGML_QUANT_SIZES[kind]
        if inputs % block != 0:
            kind = SMALLER[kind]
        shape, deviation = (*outputs, inputs), inputs**-0.5

        def make():
            numbers = self.stored(kind, shape, deviation)
            numbers[:faint] = self.stored(kind, (faint, *shape[1:]), deviation / 100)
            return numbers

        self.add(name, shape, kind, make)

    def kernel(self, name, shape, kind):
        """Floats of a convolution over all but the first dimension."""
        deviation = np.prod(shape[1:]) ** -0.5
        self.add(name, shape, kind, lambda: self.stored(kind, shape, deviation))

    def add(self, name, shape, kind, make):
        self.tensors.append((name, shape, kind, make))

    def write(self, writer, path, files=1):
        """Writes the tensors, cut into so many files."""
        if files > 1:
            writer.split_max_tensors = -(-len(self.tensors) // files)
        for name, shape, kind, _ in self.tensors:
            block, size = GGML_QUANT_SIZES[kind]
            bytes_ = int(np.prod(shape)) // block * size
            writer.add_tensor_info(name, shape, np.float32, bytes_, raw_dtype=kind)
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for *_, make in self.tensors:
            writer.write_tensor_data(make())
        writer.close()

    def stored(self, kind, shape, deviation):
        """Random numbers as `kind` stores them."""
        if kind in SCALES:
            return self.blocks(kind, shape, deviation)
        numbers = self.random.standard_normal(shape, np.float32) * np.float32(deviation)
        if kind == Type.BF16:
            # The upper halves of single-precision numbers.
            return (numbers.view(np.uint32) >> 16).astype(np.uint16)
        return numbers.astype({Type.F16: np.float16, Type.F32: np.float32}[kind])

    def blocks(self, kind, shape, deviation):
        block, size = GGML_QUANT_SIZES[kind]
        blocks = self.random.integers(0, 256, (*shape[:-1], shape[-1] // block, size), np.uint8)
        # Some types have more numbers below 0 than above. Under a random sign the mean is 0.
        signs = self.random.choice(np.array([-1, 1], np.float32), blocks.shape[:-1])
        return scaled(kind, blocks, *(signs * np.float32(deviation * it) for it in unit(kind)))


def scaled(kind, blocks, scales, shifts):
    """`blocks` under these scales of weights, and these of what is added or taken."""
    for place, values in zip(SCALES[kind], (scales, shifts), strict=True):
        if place is not None:
            values = np.broadcast_to(values, blocks.shape[:-1]).astype(np.float16)
            blocks[..., place : place + 2] = values[..., None].view(np.uint8)
    return blocks


@cache
def unit(kind):
    """The two scales under which random blocks have mean 0 and deviation 1."""
    _, size = GGML_QUANT_SIZES[kind]
    random = np.random.Generator(np.random.SFC64(0))
    blocks = random.integers(0, 256, (SAMPLED, size), np.uint8)
    weights = dequantize(scaled(kind, blocks, 1, 0), kind)
    if SCALES[kind][1] is None:
        return 1 / weights.std(), 0
    shifts = dequantize(scaled(kind, blocks, 0, 1), kind)
    shift = -weights.mean() / shifts.mean()
    scale = 1 / (weights + shift * shifts).std()
    return scale, scale * shift
