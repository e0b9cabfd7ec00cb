#!/usr/bin/env python3
"""Training steps of our networks in PyTorch on a CUDA device: the peer of tests/nets/cuda/device_steps.

bf16 autocast, f32 and TF32, each eager, channels_last and compiled (torch.compile's max-autotune, which captures CUDA
graphs); one JSON line each. What our goals name, bf16 eager and compiled, comes first. Modes that fail (no compiler for
torch.compile, say) are named and left out; exit code 1 where nothing could be measured.

  torch_device_steps.py [--batch 128] [--steps 30] [--nets vgg16,resnet56,mobilenet] [--seconds 150] [--mode-seconds 90]
"""
import argparse
import contextlib
import json
import signal
import statistics
import sys
import time

import torch
import torch.nn.functional as F

from torch_step import PLACES, Sdn

NAMES = {"vgg16": "vgg-16", "resnet56": "resnet-56", "mobilenet": "mobilenet"}
ORDER = [(precision, mode) for precision in ("bf16", "f32", "tf32") for mode in ("eager", "channels_last", "compiled")]


@contextlib.contextmanager
def time_limit(seconds):
    """TimeoutError in what runs longer; a compilation in other processes is waited for in Python, so it ends too."""

    def stop(*_):
        raise TimeoutError(f"more than {seconds:.0f} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def step_ms(name, batch, steps, precision, mode):
    torch.manual_seed(1)
    torch._dynamo.reset()  # else the ninth net is past the recompile limit and runs eager under the name "compiled"
    torch.backends.cudnn.benchmark = True
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

    forward = torch.compile(losses, mode="max-autotune") if mode == "compiled" else losses
    times = []
    for step in range(steps + 5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        if mode == "compiled":
            torch.compiler.cudagraph_mark_step_begin()
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
    p.add_argument("--seconds", type=float, default=150, help="modes that start later are left out")
    p.add_argument("--mode-seconds", type=float, default=90, help="the most that one net in one mode may take")
    a = p.parse_args()
    start = time.monotonic()
    measured = 0
    for precision, mode in ORDER:
        for name in a.nets.split(","):
            place = {"peer": "torch " + torch.__version__, "net": NAMES[name], "exits": 4, "batch": a.batch,
                     "precision": precision, "mode": mode}
            left = a.seconds - (time.monotonic() - start)
            if left <= 0:
                print("left out for time:", json.dumps(place), flush=True)
                continue
            try:
                with time_limit(min(left, a.mode_seconds)):
                    ms = step_ms(name, a.batch, a.steps, precision, mode)
            except Exception as error:  # a mode that this installation cannot run
                print(f"left out: {json.dumps(place)}: {(str(error) or repr(error)).splitlines()[0]}", flush=True)
                continue
            measured += 1
            print(json.dumps(place | {"step_ms": round(ms, 3), "images_per_s": round(a.batch / ms * 1e3, 1)}), flush=True)
    if measured == 0:
        print("torch_device_steps: nothing could be measured", file=sys.stderr)
    return 0 if measured else 1


if __name__ == "__main__":
    sys.exit(main())
