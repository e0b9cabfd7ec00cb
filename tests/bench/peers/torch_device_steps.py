#!/usr/bin/env python3
"""Training steps of our networks in PyTorch on a CUDA device: the peer of tests/nets/cuda/device_steps.

Eager, channels_last, and compiled (torch.compile, whole graph captured), each in f32, TF32 and bf16 autocast; one JSON
line each. Modes that fail (no compiler for torch.compile, say) are named and left out.

  torch_device_steps.py [--batch 128] [--steps 30] [--nets vgg16,resnet56,mobilenet] [--seconds 150]
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

from torch_step import PLACES, Sdn

NAMES = {"vgg16": "vgg-16", "resnet56": "resnet-56", "mobilenet": "mobilenet"}
MODES = ("eager", "channels_last", "compiled")


def step_ms(name, batch, steps, precision, mode):
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    layout = torch.contiguous_format if mode == "eager" else torch.channels_last
    net = Sdn(name, 4).cuda().to(memory_format=layout)
    x = torch.randn(batch, 3, 32, 32, device="cuda").to(memory_format=layout)
    y = torch.randint(0, 10, (batch,), device="cuda")
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)

    def losses(x, y):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits = net(x)
        return sum((0.5 if i + 1 < len(logits) else 1.0) * F.cross_entropy(z.float(), y) for i, z in enumerate(logits))

    forward = torch.compile(losses, mode="max-autotune-no-cudagraphs") if mode == "compiled" else losses
    times = []
    for step in range(steps + 5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        forward(x, y).backward()
        optimiser.step()
        torch.cuda.synchronize()
        if step >= 5:
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--nets", default=",".join(sorted(PLACES)))
    p.add_argument("--seconds", type=float, default=150, help="modes that start later are left out, compiled ones first")
    a = p.parse_args()
    start = time.monotonic()
    for mode in MODES:
        for precision in ("f32", "tf32", "bf16"):
            for name in a.nets.split(","):
                place = {"peer": "torch " + torch.__version__, "net": NAMES[name], "exits": 4, "batch": a.batch,
                         "precision": precision, "mode": mode}
                if time.monotonic() - start > a.seconds:
                    print("left out for time:", json.dumps(place), flush=True)
                    continue
                try:
                    ms = step_ms(name, a.batch, a.steps, precision, mode)
                except Exception as error:  # a mode that this installation cannot run
                    print(f"left out: {json.dumps(place)}: {str(error).splitlines()[0]}", flush=True)
                    continue
                print(json.dumps(place | {"step_ms": round(ms, 3), "images_per_s": round(a.batch / ms * 1e3, 1)}),
                      flush=True)


if __name__ == "__main__":
    main()
