#!/usr/bin/env python3
"""Training steps of our networks in PyTorch: the peer of `offramp bench step`.

Architectures of docs (VGG-16, ResNet-56, MobileNet v1 with early exits at the equal-cost positions), joint loss, SGD
with momentum, random data, channels_last. Prints one line a round: milliseconds of each step's median.

  torch_step.py --net resnet56 --exits 4 --batch 128 --precision f32|bf16 --mode eager|compiled --steps 20 --threads 2
"""
import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

PLACES = {  # block indices of the internal classifiers at equal cost (K exits)
    "vgg16": {1: [], 2: [5], 3: [3, 7], 4: [3, 5, 8]},
    "resnet56": {1: [], 2: [12], 3: [8, 17], 4: [6, 12, 19]},
    "mobilenet": {1: [], 2: [6], 3: [4, 8], 4: [3, 6, 9]},
}


class Exit(nn.Module):
    def __init__(self, channels, side, classes):
        super().__init__()
        self.k = side // 4 if side >= 4 else 0
        if self.k:
            self.alpha = nn.Parameter(torch.rand(1))
        out = side // self.k if self.k else side
        self.linear = nn.Linear(channels * out * out, classes)

    def forward(self, x):
        if self.k:
            x = self.alpha * F.max_pool2d(x, self.k) + (1 - self.alpha) * F.avg_pool2d(x, self.k)
        return self.linear(x.flatten(1))


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.a = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn_a = nn.BatchNorm2d(cout)
        self.b = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn_b = nn.BatchNorm2d(cout)
        self.short = None
        if stride != 1 or cin != cout:
            self.short = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.bn_b(self.b(F.relu(self.bn_a(self.a(x)))))
        return F.relu(y + (x if self.short is None else self.short(x)))


def conv_bn(cin, cout, k, stride=1, groups=1, bias=False):
    return [nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups, bias=bias), nn.BatchNorm2d(cout), nn.ReLU()]


def blocks_of(name):
    """(stem, blocks, [(channels, side) after each block], head features -> classes)."""
    if name == "resnet56":
        blocks, shapes, cin = [], [], 16
        for i in range(27):
            cout, side = 16 << (i // 9), 32 >> (i // 9)
            blocks.append(BasicBlock(cin, cout, 2 if i in (9, 18) else 1))
            shapes.append((cout, side))
            cin = cout
        head = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10))
        return nn.Sequential(*conv_bn(3, 16, 3)), blocks, shapes, head
    if name == "mobilenet":
        outs = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
        strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
        blocks, shapes, cin, side = [], [], 32, 32
        for cout, s in zip(outs, strides):
            blocks.append(nn.Sequential(*conv_bn(cin, cin, 3, s, cin), *conv_bn(cin, cout, 1)))
            side //= s
            shapes.append((cout, side))
            cin = cout
        head = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(1024, 10))
        return nn.Sequential(*conv_bn(3, 32, 3)), blocks, shapes, head
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    pools = {1, 3, 6, 9, 12}
    blocks, shapes, cin, side = [], [], 3, 32
    for i, cout in enumerate(widths):
        layers = conv_bn(cin, cout, 3, bias=True)
        if i in pools:
            layers.append(nn.MaxPool2d(2))
            side //= 2
        blocks.append(nn.Sequential(*layers))
        shapes.append((cout, side))
        cin = cout
    head = nn.Sequential(nn.Flatten(), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 512),
                         nn.Dropout(0.5), nn.Linear(512, 10))
    return nn.Identity(), blocks, shapes, head


class Sdn(nn.Module):
    def __init__(self, name, exits):
        super().__init__()
        self.stem, blocks, shapes, self.head = blocks_of(name)
        self.blocks = nn.ModuleList(blocks)
        self.exits = nn.ModuleDict({str(b): Exit(*shapes[b], 10) for b in PLACES[name][exits]})

    def forward(self, x):
        x, out = self.stem(x), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if str(i) in self.exits:
                out.append(self.exits[str(i)](x))
        return out + [self.head(x)]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--net", default="resnet56", choices=sorted(PLACES))
    p.add_argument("--exits", type=int, default=4)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    p.add_argument("--mode", default="eager", choices=["eager", "compiled"])
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net = Sdn(a.net, a.exits).to(memory_format=torch.channels_last)
    forward = torch.compile(net) if a.mode == "compiled" else net
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    x = torch.randn(a.batch, 3, 32, 32).to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (a.batch,))
    times = []
    for step in range(a.steps + 3):
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.precision == "bf16"):
            logits = forward(x)
        loss = sum((0.5 if i + 1 < len(logits) else 1.0) * F.cross_entropy(z.float(), y) for i, z in enumerate(logits))
        loss.backward()
        optimiser.step()
        if step >= 3:
            times.append(time.perf_counter() - start)
    median = statistics.median(times)
    print(json.dumps({
        "peer": "torch " + torch.__version__, "net": a.net, "exits": a.exits, "batch": a.batch,
        "precision": a.precision, "mode": a.mode, "threads": a.threads, "step_ms": round(median * 1e3, 2),
        "images_per_s": round(a.batch / median, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "library_mb": round(baseline / 1024, 1)}))


if __name__ == "__main__":
    main()
