#!/usr/bin/env bash
# onnx 1.23.2 (onnxruntime 1.32.0, NumPy 2.4.6): the reference evaluator on a softmax before operator set 13.
#
# Expected  The evaluator that ships with the standard knows every version of an operator: up to operator set 12
#           Softmax runs over all axes from the first after the batch, so the scores of an all-convolutional exit,
#           [1, classes, 1, 1], become confidences that add up to 1.
# Happens   There is one Softmax in it, that of operator set 13, over the last axis, which is one value long: every
#           class gets the confidence 1.0. The checker finds nothing, no warning is given; LogSoftmax gives 0.
# Bites     Who checks an older early-exit file against the reference: every image is sure at the first exit, all
#           leave there, and of equal confidences the first class is taken.
# Offramp   Writes operator set 14 with the axis spelt out, on [batch, classes] (docs/reference/onnx.md).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "numpy", np.__version__)
CLASSES, IMAGES, THRESHOLD = 10, 100, 0.9


def exit_head(operator_set, operator="Softmax"):
    """Mean over the maps, one map a class, then the confidences: no flattening, as in SqueezeNet."""
    spelt = {"axis": 1} if operator_set >= 13 else {}
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["maps"], ["logits"]),
         helper.make_node(operator, ["logits"], ["confidences"], **spelt)], "exit",
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", CLASSES, 3, 3])],
        [helper.make_tensor_value_info("confidences", TensorProto.FLOAT, ["n", CLASSES, 1, 1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", operator_set)], ir_version=7)
    onnx.checker.check_model(model, full_check=True)
    return model


def by_runtime(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"maps": maps})[0].reshape(IMAGES, CLASSES)


def by_reference(model):
    return ReferenceEvaluator(model).run(None, {"maps": maps})[0].reshape(IMAGES, CLASSES)


rng = np.random.default_rng(1)
maps = (rng.normal(size=(IMAGES, CLASSES, 1, 1)) * 3 + rng.normal(size=(IMAGES, CLASSES, 3, 3))).astype(np.float32)
e = np.exp(maps.mean((2, 3), dtype=np.float64))
right = e / e.sum(1, keepdims=True)
for operator_set in (9, 12, 13):
    model = exit_head(operator_set)
    runtime, reference = by_runtime(model), by_reference(model)
    sure = [int((c.max(1) >= THRESHOLD).sum()) for c in (right, runtime, reference)]
    print(f"operator set {operator_set}: an image's confidences add up to {runtime[0].sum():.3f} in onnxruntime, "
          f"{reference[0].sum():.3f} in the reference; sure at {THRESHOLD}, of {IMAGES}: by hand {sure[0]}, onnxruntime "
          f"{sure[1]}, reference {sure[2]}; classes answered: {len(set(runtime.argmax(1)))} and {len(set(reference.argmax(1)))}")
    assert np.abs(runtime - right).max() < 1e-5
    if operator_set < 13:
        assert (reference == 1).all() and sure[1] < IMAGES // 2 and sure[2] == IMAGES
    else:
        assert np.abs(reference - right).max() < 1e-5
logarithms = by_runtime(exit_head(12, "LogSoftmax")), by_reference(exit_head(12, "LogSoftmax"))
print(f"LogSoftmax, operator set 12: {logarithms[0][0, 0]:.3f} in onnxruntime, {logarithms[1][0, 0]:.3f} in the reference")
assert (logarithms[1] == 0).all() and np.abs(np.exp(logarithms[0]) - right).max() < 1e-5
converted = by_reference(onnx.version_converter.convert_version(exit_head(12), 13))
print(f"operator set 12, converted to 13: reference off by {np.abs(converted - right).max():.1e}")
assert np.abs(converted - right).max() < 1e-5
EOF
