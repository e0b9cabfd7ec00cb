#!/usr/bin/env bash
# PyTorch 2.15.0 (NumPy 2.4.6): folding batch norms with torch.fx where the exits share one head.
#
# Expected  torch.fx.experimental.optimization.fuse folds each batch norm into the convolution before it and leaves the
#           answers as they are; what it cannot fold it leaves alone.
# Happens   It walks over the calls, not over the modules. A head (convolution, batch norm) that is called at three
#           depths is folded three times into the same weights, and all three calls then use them. The same
#           network with three equal heads of its own folds rightly. No warning; shapes and types are as before.
# Bites     Who speeds up a network with a shared exit head, or one trunk block called again and again: confidences and
#           exits are those of another network, and a time or an accuracy measured on it is too.
# Offramp   Its exits have a head each, and a batch norm is folded once, in double, into the one convolution that stands
#           before it (docs/reference/onnx.md).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 torch==2.15.0
"$work/venv/bin/python" - <<'EOF'
import copy

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

print("torch", torch.__version__)
torch.manual_seed(1)
WIDTH, CLASSES, EXITS, THRESHOLD = 16, 5, 3, 0.6


def normed(channels_in, channels_out, size):
    """A convolution and a batch norm as training leaves it: scales and statistics of its own."""
    norm = nn.BatchNorm2d(channels_out)
    nn.init.uniform_(norm.weight, 1, 2)
    nn.init.normal_(norm.bias, 0, 0.3)
    norm.running_mean.normal_(0, 0.2)
    norm.running_var.uniform_(0.1, 0.4)
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, size, padding=size // 2), norm)


class Net(nn.Module):
    def __init__(self, blocks, heads):
        super().__init__()
        self.blocks, self.heads = nn.ModuleList(blocks), nn.ModuleList(heads)

    def forward(self, x):
        answers = []
        for block, head in zip(self.blocks, self.heads):
            x = torch.relu(block(x))
            answers.append(head(x).mean((2, 3)).softmax(1))
        return answers


def exits(answers):
    """The first exit that is sure, or the last."""
    left = torch.full((len(answers[0]),), len(answers))
    for k in range(len(answers) - 1, 0, -1):
        left[answers[k - 1].amax(1) >= THRESHOLD] = k
    return left


blocks = [normed(3, WIDTH, 3)] + [normed(WIDTH, WIDTH, 3) for _ in range(EXITS - 1)]
head = normed(WIDTH, CLASSES, 1)
images = torch.randn(400, 3, 2, 2)
own = Net(blocks, [copy.deepcopy(head) for _ in range(EXITS)]).eval()
shared = Net(blocks, [head] * EXITS).eval()
with torch.no_grad():
    before = shared(images)
    assert all(torch.equal(a, b) for a, b in zip(before, own(images)))
    for name, net in (("a head each", own), ("one head", shared)):
        after = fuse(net)(images)
        off = [float((a - b).abs().max()) for a, b in zip(before, after)]
        moved = int((exits(before) != exits(after)).sum())
        other = [int((a.argmax(1) != b.argmax(1)).sum()) for a, b in zip(before, after)]
        print(f"{name}: confidences off by {', '.join(f'{x:.0e}' for x in off)}; of {len(images)} images {moved} leave "
              f"elsewhere, the answer of an exit differs for {other}")
        if name == "one head":
            assert min(off) > 0.05 and moved > 20
        else:
            assert max(off) < 1e-5 and moved <= 1 and max(other) <= 1
assert all(torch.equal(a, b) for a, b in zip(before, shared(images)))
EOF
