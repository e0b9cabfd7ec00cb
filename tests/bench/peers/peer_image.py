#!/usr/bin/env python3
"""One image through the networks of torch_step.py in ONNX Runtime, OpenVINO and PyTorch: milliseconds to every exit.

  peer_image.py --runtime onnxruntime|openvino|torch --net resnet56 --exits 4 --precision f32|bf16 --threads 1

An exit is timed as its own model: the trunk up to it and its classifier, exported with constants folded, which is the
most that a runtime without early exit can be asked for. Median of --images pictures after a warm-up.
"""
import argparse
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np
import torch

from torch_step import PLACES, Sdn


class UpTo(torch.nn.Module):
    """The net up to exit `index` (from 0), logits of this exit alone, probabilities behind them."""

    def __init__(self, net, name, index):
        super().__init__()
        places = sorted(int(b) for b in net.exits)
        last = index == len(places)
        count = len(net.blocks) if last else places[index] + 1
        self.trunk = torch.nn.Sequential(net.stem, *net.blocks[:count])
        self.exit = net.head if last else net.exits[str(places[index])]

    def forward(self, x):
        return torch.softmax(self.exit(self.trunk(x)), 1)


def runner(runtime, model, precision, threads, folder):
    """f(image) for one runtime."""
    example = torch.randn(1, 3, 32, 32)
    if runtime == "torch":
        torch.set_num_threads(threads)
        model = model.to(memory_format=torch.channels_last)
        traced = torch.jit.freeze(torch.jit.trace(model, example))
        traced = torch.jit.optimize_for_inference(traced)

        def run(image):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                return (model if precision == "bf16" else traced)(torch.from_numpy(image))
        return run
    path = str(pathlib.Path(folder) / "model.onnx")
    torch.onnx.export(model, (example,), path, dynamo=False, do_constant_folding=True)
    if runtime == "onnxruntime":
        import onnxruntime
        if precision == "bf16":
            raise SystemExit("onnxruntime: its CPU provider has no bf16 convolutions")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda image: session.run(None, {name: image})
    import openvino
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": {"f32": "f32", "bf16": "bf16"}[precision]})
    request = compiled.create_infer_request()
    return lambda image: request.infer({0: image})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runtime", required=True, choices=["onnxruntime", "openvino", "torch"])
    p.add_argument("--net", default="resnet56", choices=sorted(PLACES))
    p.add_argument("--exits", type=int, default=4)
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--images", type=int, default=200)
    a = p.parse_args()
    torch.manual_seed(1)
    net = Sdn(a.net, a.exits).eval()
    pictures = np.random.default_rng(1).random((16, 1, 3, 32, 32), dtype=np.float32)
    medians = []
    with tempfile.TemporaryDirectory() as folder:
        for e in range(a.exits):
            run = runner(a.runtime, UpTo(net, a.net, e).eval(), a.precision, a.threads, folder)
            times = []
            for i in range(-10, a.images):
                start = time.perf_counter()
                run(pictures[i % len(pictures)])
                if i >= 0:
                    times.append(1e3 * (time.perf_counter() - start))
            medians.append(statistics.median(times))
    print(json.dumps({"peer": a.runtime, "net": a.net, "precision": a.precision, "threads": a.threads,
                      "exit_ms": [round(m, 4) for m in medians]}))


if __name__ == "__main__":
    main()
