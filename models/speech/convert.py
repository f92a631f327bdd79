"""Makes speech.onnx of Silero's detector: python convert.py OUTPUT

The published file holds two sample rates, conditions and shapes that are computed while it runs. Here the same weights
stand in one plain graph for 16 kHz:

    sound  [1, 576]   the last 64 samples before, then 512 new ones
    state  [2, 1, 128]  of the LSTM
    -> probability [1] that the new samples are speech, and the next state

The result is compared with the published file, run by onnxruntime.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

# Found without importing it, which would need torch.
PACKAGE = importlib.util.find_spec("silero_vad").submodule_search_locations[0]
SOURCE = Path(PACKAGE) / "data" / "silero_vad_16k_op15.onnx"
SOUND, NEW, STATE = 576, 512, 128


def graph(weights):
    constants, nodes = {}, []

    def constant(name, value):
        constants[name] = np.ascontiguousarray(value)
        return name

    def add(operation, inputs, output, **attributes):
        nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    # The last 64 samples are mirrored at the end, so that the last window is whole.
    mirrored = np.concatenate([np.arange(SOUND), np.arange(SOUND - 2, SOUND - 66, -1)])
    x = add("Gather", ["sound", constant("mirrored", mirrored)], "padded", axis=1)
    x = add("Unsqueeze", [x, constant("channel", np.array([1]))], "channels")
    basis = constant("basis", weights["model.stft.forward_basis_buffer"])
    x = add("Conv", [x, basis], "spectrum", kernel_shape=[256], strides=[128])
    halves = constant("halves", np.array([129, 129]))
    nodes.append(helper.make_node("Split", [x, halves], ["real", "imaginary"], axis=1))
    parts = [add("Mul", [part, part], part + "_squared") for part in ("real", "imaginary")]
    x = add("Sqrt", [add("Add", parts, "power")], "magnitude")
    for layer, stride in enumerate([1, 2, 2, 1]):
        name = f"model.encoder.{layer}.reparam_conv"
        weight, bias = (constant(f"{part}{layer}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        x = add("Conv", [x, weight, bias], f"conv{layer}", kernel_shape=[3], pads=[1, 1], strides=[stride])
        x = add("Relu", [x], f"relu{layer}")
    x = add("Squeeze", [x, constant("time", np.array([2]))], "features")
    pair = constant("pair", np.array([1, 1]))
    nodes.append(helper.make_node("Split", ["state", pair], ["before_h", "before_c"], axis=0))
    h = add("Squeeze", ["before_h", constant("first", np.array([0]))], "h")
    c = add("Squeeze", ["before_c", "first"], "c")
    rnn = "model.decoder.rnn."
    of_x = add("MatMul", [x, constant("of_x", weights[rnn + "weight_ih"].T)], "from_x")
    of_h = add("MatMul", [h, constant("of_h", weights[rnn + "weight_hh"].T)], "from_h")
    bias = constant("bias", weights[rnn + "bias_ih"] + weights[rnn + "bias_hh"])
    gates = add("Add", [add("Add", [of_x, of_h], "from_both"), bias], "gates")
    quarters = constant("quarters", np.array([STATE] * 4))
    nodes.append(helper.make_node("Split", [gates, quarters], ["i", "f", "g", "o"], axis=1))
    i, f, o = (add("Sigmoid", [gate], gate + "_open") for gate in "ifo")
    new = add("Mul", [i, add("Tanh", ["g"], "candidate")], "new")
    c = add("Add", [add("Mul", [f, c], "kept"), new], "next_c")
    h = add("Mul", [o, add("Tanh", [c], "bounded")], "next_h")
    last = weights["model.decoder.decoder.2.weight"].reshape(1, STATE).T
    x = add("MatMul", [add("Relu", [h], "positive"), constant("last", last)], "logit")
    x = add("Add", [x, constant("last_bias", weights["model.decoder.decoder.2.bias"])], "biased")
    x = add("Squeeze", [x, "first"], "flat")
    add("Sigmoid", [x], "probability")
    states = [add("Unsqueeze", [it, "first"], it + "_state") for it in (h, c)]
    add("Concat", states, "next", axis=0)
    values = {
        "sound": [1, SOUND], "state": [2, 1, STATE], "probability": [1], "next": [2, 1, STATE],
    }
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()}
    initial = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    return helper.make_graph(
        nodes, "speech", [value["sound"], value["state"]], [value["probability"], value["next"]], initial
    )


def main(output):
    published = onnx.load(SOURCE)
    weights = {it.name: numpy_helper.to_array(it) for it in published.graph.initializer}
    model = helper.make_model(graph(weights), opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, output)
    ours, theirs = (onnxruntime.InferenceSession(str(it)) for it in (output, SOURCE))
    random = np.random.default_rng(1)
    sound = (random.normal(size=64 + 200 * NEW) * 0.1 * np.sin(np.arange(64 + 200 * NEW) / 3000)).astype(np.float32)
    state = other = np.zeros((2, 1, STATE), np.float32)
    most = 0.0
    for begin in range(0, len(sound) - SOUND + 1, NEW):
        piece = sound[None, begin : begin + SOUND]
        ours_p, state = ours.run(None, {"sound": piece, "state": state})
        theirs_p, other = theirs.run(None, {"input": piece, "state": other, "sr": np.array(16000)})
        most = max(most, abs(float(ours_p[0]) - float(theirs_p[0, 0])))
    print(f"{output}: differs from the published detector by at most {most:.1e}")
    assert most < 1e-4


main(sys.argv[1])
