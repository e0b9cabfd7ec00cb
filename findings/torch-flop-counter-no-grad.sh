#!/usr/bin/env bash
# PyTorch 2.15.0 (NumPy 2.4.6): torch.utils.flop_counter on a transformer with exits, with and without gradients.
#
# Expected  The same network on the same image takes the same operations, whether gradients are recorded or not.
# Happens   In eval() without gradients (no_grad, inference_mode, or frozen weights) a transformer layer runs as one
#           fused operator that the counter does not know, and counts 0. Stem and heads still count, so the total
#           looks like one: 394 k operations for 1,509 k to the first exit, 398 k for 4,855 k to the last.
# Bites     Who reports what early exits save, and counts as one measures, under no_grad: leaving at the first of four
#           exits saves 1 % where it saves 69 %, and a budget is met by any threshold.
# Offramp   Costs follow from the description of the net, with no run, and are held to the integers of the
#           papers' tables (tests Cost.*).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 torch==2.15.0
"$work/venv/bin/python" - <<'EOF'
import warnings

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

warnings.simplefilter("ignore", UserWarning)
print("torch", torch.__version__)
torch.manual_seed(1)
SIDE, PATCH, WIDTH, INNER, CLASSES, BLOCKS = 32, 8, 64, 128, 10, 4
TOKENS = (SIDE // PATCH) ** 2


class Net(nn.Module):
    """Patches, then transformer layers, with a linear exit on the mean token behind each."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, 4, INNER, batch_first=True) for _ in range(BLOCKS))
        self.heads = nn.ModuleList(nn.Linear(WIDTH, CLASSES) for _ in range(BLOCKS))

    def forward(self, x, leave):
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        answers = []
        for block, head in list(zip(self.blocks, self.heads))[:leave]:
            tokens = block(tokens)
            answers.append(head(tokens.mean(1)))
        return answers


def by_hand(leave):
    stem = TOKENS * WIDTH * 3 * PATCH * PATCH
    block = 4 * TOKENS * WIDTH * WIDTH + 2 * TOKENS * TOKENS * WIDTH + 2 * TOKENS * WIDTH * INNER
    return 2 * (stem + leave * (block + WIDTH * CLASSES))


def counted(net, leave, context):
    with context(), FlopCounterMode(display=False) as counter:
        answers = net(image, leave)
    return counter.get_total_flops(), answers[-1].detach()


net, image = Net().eval(), torch.rand(1, 3, SIDE, SIDE)
totals = {}
for leave in range(1, BLOCKS + 1):
    (recorded, a), (without, b), (inference, _) = (
        counted(net, leave, c) for c in (torch.enable_grad, torch.no_grad, torch.inference_mode))
    totals[leave] = recorded, without
    print(f"to exit {leave}: by hand {by_hand(leave)}, with gradients {recorded}, no_grad {without}, "
          f"inference_mode {inference}; answers differ by {float((a - b).abs().max()):.0e}")
    assert recorded == by_hand(leave) and without == inference and float((a - b).abs().max()) < 1e-5
saved = [1 - totals[1][k] / totals[BLOCKS][k] for k in (0, 1)]
print(f"saved by leaving at exit 1 of {BLOCKS}: {saved[0]:.1%} with gradients, {saved[1]:.1%} without")
assert saved[0] > 0.6 and saved[1] < 0.02
frozen = counted(net.requires_grad_(False), BLOCKS, torch.enable_grad)[0]
training = counted(net.train(), BLOCKS, torch.no_grad)[0]
torch.backends.mha.set_fastpath_enabled(False)
unfused = counted(net.eval(), BLOCKS, torch.no_grad)[0]
print(f"to exit {BLOCKS}: frozen weights {frozen}, train() under no_grad {training}, no_grad without the fused operator {unfused}")
assert frozen == totals[BLOCKS][1] and training == unfused == by_hand(BLOCKS)
EOF
