"""Random tensors in the storage types of GGUF.

Quantised weights are not computed from floats: every bit pattern is a valid block, so random bytes
under a chosen scale are random weights of a chosen size.
"""

import numpy as np
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Type


class Weights:
    """Tensors to be written, each made when its turn comes, since all of them may not fit in memory.
    Shapes are numpy's, slowest dimension first."""

    def __init__(self, seed):
        self.random = np.random.Generator(np.random.SFC64(seed))
        self.tensors = []

    def ones(self, name, size):
        self.values(name, np.ones(size, np.float32))

    def values(self, name, values):
        self.add(name, values.shape, Type.F32, lambda: values)

    def matrix(self, name, inputs, outputs, kind):
        """A matrix under which inputs of size 1 become outputs of size about 1."""
        makers = {Type.Q4_0: self.q4_0, Type.Q6_K: self.q6_k, Type.BF16: self.bf16}
        deviation = inputs**-0.5
        self.add(name, (outputs, inputs), kind, lambda: makers[kind](outputs, inputs, deviation))

    def kernel(self, name, shape, kind):
        """Floats of a convolution over all but the first dimension."""
        dtype = {Type.F16: np.float16, Type.F32: np.float32}[kind]
        deviation = np.prod(shape[1:]) ** -0.5
        self.add(name, shape, kind, lambda: self.normal(shape, deviation).astype(dtype))

    def add(self, name, shape, kind, make):
        self.tensors.append((name, shape, kind, make))

    def write(self, writer, path):
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

    def normal(self, shape, deviation):
        return self.random.standard_normal(shape, np.float32) * np.float32(deviation)

    def q4_0(self, rows, columns, deviation):
        """32 weights: a half-precision scale, then 4 bits each, less 8."""
        blocks = self.random.integers(0, 256, (rows, columns // 32, 18), np.uint8)
        scale = deviation / np.std(np.arange(16))
        blocks[..., :2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
        return blocks

    def q6_k(self, rows, columns, deviation):
        """256 weights: 6 bits each, less 32; a scale of 8 bits for each 16; a half-precision scale
        of these scales."""
        blocks = self.random.integers(0, 256, (rows, columns // 256, 210), np.uint8)
        blocks[..., 192:208] = 64
        scale = deviation / np.std(np.arange(64)) / 64
        blocks[..., 208:] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
        return blocks

    def bf16(self, rows, columns, deviation):
        """The upper halves of single-precision numbers."""
        numbers = self.normal((rows, columns), deviation)
        return (numbers.view(np.uint32) >> 16).astype(np.uint16)
