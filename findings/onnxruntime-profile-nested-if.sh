#!/usr/bin/env bash
# onnxruntime 1.32.0 (onnx 1.23.2, NumPy 2.4.6): the profile of a network whose exits are nested Ifs.
#
# Expected  A profile lists the nodes with the time of each; together they take what the run takes.
# Happens   The time of an If is that of the whole branch it took, and the nodes of the branch are listed once more,
#           in the same flat list, with nothing that says whose they are. With exits inside one another the work
#           behind exit k counts k + 1 times: four equal blocks add up to two and a half runs.
# Bites     Who divides a run among its operators: If is by far the dearest, the matrix products are a third of the
#           run instead of all of it, and what early exit is said to save grows with the depth of the nesting.
# Offramp   `offramp profile` times each op where it is called, once. Its nets with `export --with-if` are nested in this
#           way (docs/reference/onnx.md).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import json
from collections import Counter

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__, "numpy", np.__version__)
BLOCKS, SIDE, RUNS = 4, 384, 30
rng = np.random.default_rng(1)
SHAPE = [SIDE, SIDE]


def block(i, before):
    return [helper.make_node("MatMul", [before, f"weight{i}"], [f"product{i}"], name=f"product{i}"),
            helper.make_node("Relu", [f"product{i}"], [f"map{i}"], name=f"relu{i}")]


def plain():
    nodes, last = [], "x"
    for i in range(BLOCKS):
        nodes += block(i, last)
        last = f"map{i}"
    return nodes, last


def with_exits(i=0, before="x"):
    """Block i, then: leave with its map where something in it is above the threshold, or go on."""
    nodes = block(i, before)
    if i == BLOCKS - 1:
        return nodes, f"map{i}"
    behind, last = with_exits(i + 1, f"map{i}")
    value = helper.make_tensor_value_info
    leave = helper.make_graph([helper.make_node("Identity", [f"map{i}"], [f"left{i}"])], f"leave{i}", [],
                              [value(f"left{i}", TensorProto.FLOAT, SHAPE)])
    go_on = helper.make_graph(behind, f"go_on{i}", [], [value(last, TensorProto.FLOAT, SHAPE)])
    nodes += [helper.make_node("ReduceMax", [f"map{i}"], [f"top{i}"], keepdims=0, name=f"top{i}"),
              helper.make_node("Greater", [f"top{i}", "threshold"], [f"sure{i}"], name=f"sure{i}"),
              helper.make_node("If", [f"sure{i}"], [f"answer{i}"], name=f"exit{i}", then_branch=leave, else_branch=go_on)]
    return nodes, f"answer{i}"


def profile(nodes, output):
    """Times of a run by node, by operator, and of the run, in microseconds."""
    weights = [numpy_helper.from_array((rng.normal(size=SHAPE) / 20).astype(np.float32), f"weight{i}") for i in range(BLOCKS)]
    threshold = numpy_helper.from_array(np.float32(1e9), "threshold")  # nobody leaves before the end
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
                              [helper.make_tensor_value_info(output, TensorProto.FLOAT, SHAPE)], weights + [threshold])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.intra_op_num_threads, options.log_severity_level = True, 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = rng.normal(size=SHAPE).astype(np.float32)
    for _ in range(RUNS):
        session.run(None, {"x": x})
    with open(session.end_profiling()) as file:
        events = json.load(file)
    nodes, operators = Counter(), Counter()
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            nodes[event["name"].removesuffix("_kernel_time")] += event["dur"] / RUNS
            operators[event["args"]["op_name"]] += event["dur"] / RUNS
    return nodes, operators, sum(e["dur"] for e in events if e["name"] == "model_run") / RUNS


def share(part, whole):
    return f"{100 * part / whole:.0f} %"


nodes, operators, run = profile(*plain())
flat = sum(nodes.values())
print(f"no exits: the nodes add up to {flat / run:.2f} runs, matrix products {share(operators['MatMul'], flat)} of that")
assert 0.7 < flat / run < 1.1 and operators["MatMul"] > 0.8 * flat
nodes, operators, run = profile(*with_exits())
total = sum(nodes.values())
print(f"three exits, all go on: the nodes add up to {total / run:.2f} runs; of that If {share(operators['If'], total)}, "
      f"matrix products {share(operators['MatMul'], total)}; without the Ifs {(total - operators['If']) / run:.2f} runs")
for i in range(BLOCKS - 1):
    inside = sum(nodes[f"product{k}"] + nodes[f"relu{k}"] for k in range(i + 1, BLOCKS))
    print(f"exit {i + 1}: its If takes {nodes[f'exit{i}'] / run:.2f} runs, the blocks behind it {inside / run:.2f}")
    assert nodes[f"exit{i}"] > inside
assert total > 1.8 * run and operators["If"] > 0.4 * total and operators["MatMul"] < 0.6 * total
assert 0.7 < (total - operators["If"]) / run < 1.1
EOF
