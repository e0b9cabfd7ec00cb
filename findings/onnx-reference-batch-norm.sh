#!/usr/bin/env bash
# onnx 1.23.2 (onnxruntime 1.32.0, NumPy 2.4.6): the reference evaluator on a batch norm of operator sets 9 to 13.
#
# Expected  A model that is run, not trained, normalises by the means and variances that are stored in it: an image
#           gets the same answer whoever else is in the batch, and the evaluator that ships with the standard is
#           the one to check a file with.
# Happens   Before operator set 14 a node says by its number of outputs whether it trains. The evaluator asks instead
#           whether the momentum is given, which it always is (0.9 by default): it mixes a tenth of the statistics of
#           the batch at hand into the stored ones. Answers are wrong, and change with the images beside them.
# Bites     Who holds exported confidences against the reference: images cross exit thresholds that they do not cross
#           in onnxruntime, and a test of whether the batch leaks into an answer says that it does.
# Offramp   Its files keep the batch norms of WideResNet and are of operator set 14, where a node says itself whether
#           it trains. They are held to onnxruntime and OpenVINO (docs/reference/onnx.md).
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
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "numpy", np.__version__)
CLASSES, IMAGES, THRESHOLD = 4, 500, 0.9
rng = np.random.default_rng(1)
MEAN = np.array([0.2, -0.1, 0.4, 0.0], np.float32)
VARIANCE = np.array([0.3, 0.5, 0.2, 0.4], np.float32)
SCALE = np.array([2.0, 2.0, 2.0, 2.0], np.float32)
SHIFT = np.array([0.1, 0.0, -0.1, 0.0], np.float32)


def exit_head(operator_set):
    """Batch norm, mean over the map, softmax."""
    nodes = [helper.make_node("BatchNormalization", ["maps", "scale", "shift", "mean", "variance"], ["normal"]),
             helper.make_node("GlobalAveragePool", ["normal"], ["pooled"]),
             helper.make_node("Flatten", ["pooled"], ["logits"]),
             helper.make_node("Softmax", ["logits"], ["confidences"], axis=1)]
    values = {"scale": SCALE, "shift": SHIFT, "mean": MEAN, "variance": VARIANCE}
    graph = helper.make_graph(
        nodes, "exit",
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", CLASSES, 4, 4])],
        [helper.make_tensor_value_info("confidences", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in values.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", operator_set)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def by_runtime(model, maps):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"maps": maps})[0]


def by_reference(model, maps):
    return ReferenceEvaluator(model).run(None, {"maps": maps})[0]


def by_formula(maps):
    column = (1, CLASSES, 1, 1)
    scaled = (maps - MEAN.reshape(column)) / np.sqrt(VARIANCE.reshape(column) + 1e-5)
    logits = (scaled * SCALE.reshape(column) + SHIFT.reshape(column)).mean((2, 3))
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


maps = (rng.normal(size=(IMAGES, CLASSES, 4, 4)) * 0.3 + rng.normal(size=(IMAGES, CLASSES, 1, 1)) * 0.8 + 0.5).astype(np.float32)
right = by_formula(maps)
moved = {}
for operator_set in (9, 13, 15):
    model = exit_head(operator_set)
    runtime, reference = by_runtime(model, maps), by_reference(model, maps)
    alone = np.concatenate([by_reference(model, maps[i:i + 1]) for i in range(IMAGES)])
    moved[operator_set] = np.abs(reference - right).max(), np.abs(alone - reference).max()
    leave = [int((c.max(1) >= THRESHOLD).sum()) for c in (right, runtime, reference, alone)]
    print(f"operator set {operator_set}: onnxruntime off by {np.abs(runtime - right).max():.1e}, reference by "
          f"{moved[operator_set][0]:.3f}, the same image alone and among {IMAGES} differs by {moved[operator_set][1]:.3f}; "
          f"leaving at {THRESHOLD}: formula {leave[0]}, onnxruntime {leave[1]}, reference {leave[2]}, one by one {leave[3]}")
    assert np.abs(runtime - right).max() < 1e-5 and leave[0] == leave[1]
    if operator_set == 15:
        assert leave[2] == leave[3] == leave[0]
    else:
        assert leave[2] != leave[0] and leave[3] != leave[2]
converted = by_reference(onnx.version_converter.convert_version(exit_head(13), 15), maps)
print(f"operator set 13, converted to 15: reference off by {np.abs(converted - right).max():.1e}")
assert moved[9][0] > 0.03 and moved[13][0] > 0.03 and min(moved[9][1], moved[13][1]) > 0.03
assert max(moved[15]) < 1e-5 and np.abs(converted - right).max() < 1e-5
EOF
