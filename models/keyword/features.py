"""openWakeWord's front-end over whole recordings, as a stream would compute it.

A stream gets 1280 samples (80 ms) at a time: the mel spectrogram of the last 1760 gives 8 frames, and the
last 76 frames give one embedding of 96 numbers. The network of the embeddings has no padding in time and
moves 8 frames at a time, so one run over all frames gives what the windows would, ten times as fast. What
depends on the chunk is only the floor of the spectrogram: 80 dB below the loudest of 8 frames.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

HERE = Path(__file__).parent
RATE, CHUNK = 16000, 1280
FRAMES, WINDOW = 76, 16  # mel frames of an embedding, embeddings of a classifier's window
# The first embedding is there after so many chunks, the first window after so many.
FIRST = 9
WARM = FIRST + WINDOW


def session(model):
    """`model` (a path, or a model's bytes) on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options, ["CPUExecutionProvider"])


def _cut(name, output, shape=()):
    """A network that ends at `output`, and whose first reshape gives `shape`."""
    model = onnx.load(HERE / name)
    nodes = {node.output[0]: node for node in model.graph.node}
    wanted, names = [output], set()
    while wanted:
        node = nodes.get(wanted.pop())
        if node and node.output[0] not in names:
            names.add(node.output[0])
            wanted += node.input
    kept = [node for node in model.graph.node if node.output[0] in names]
    if shape:
        for tensor in model.graph.initializer:
            if tensor.name == kept[0].input[1]:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(shape, np.int64), tensor.name))
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "frames"
    del model.graph.node[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.node.extend(kept)
    model.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    return session(model.SerializeToString())


def _output_before(name, kind):
    """What the last node of a kind takes."""
    return [node for node in onnx.load(HERE / name).graph.node if node.op_type == kind][-1].input[0]


class Frontend:
    """The two networks, freed of their windows."""

    def __init__(self):
        self.mel = _cut("melspectrogram.onnx", _output_before("melspectrogram.onnx", "ReduceMax"))
        self.embedding = _cut("embedding.onnx", _output_before("embedding.onnx", "Reshape"), [1, 1, -1, 32])

    def frames(self, sound):
        """(8 * chunks, 32) of samples in [-1, 1], before which there was silence."""
        chunks = len(sound) // CHUNK
        samples = np.round(np.clip(sound[: chunks * CHUNK], -1, 1) * 32767).astype(np.float32)
        decibel = self.mel.run(None, {"input": np.pad(samples, (480, 0))[None]})[0].reshape(chunks, 8, 32)
        decibel = np.maximum(decibel, decibel.max((1, 2), keepdims=True) - 80)
        return decibel.reshape(-1, 32) / 10 + 2

    def __call__(self, sound):
        """The embeddings, (chunks - FIRST, 96). Embedding `k` ends with chunk `k + FIRST`."""
        frames = self.frames(sound)[4:]  # 76 frames are nine chunks and a half
        return self.embedding.run(None, {"input_1": frames[None, :, :, None]})[0][0, :, :, 0].T


def ends(embeddings):
    """The seconds at which the windows of `embeddings` end."""
    return (np.arange(len(embeddings) - WINDOW + 1) + WARM) * CHUNK / RATE


def windows(embeddings):
    """(windows, 16, 96), one for each embedding from the sixteenth on."""
    view = np.lib.stride_tricks.sliding_window_view(embeddings, WINDOW, 0)
    return view.transpose(0, 2, 1)
