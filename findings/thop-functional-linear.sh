#!/usr/bin/env bash
# thop 0.1.1.post2209072238 (torch 2.15.0): counting the operations of an early-exit network.
#
# Expected  The same network has the same count, however its layers are written.
# Happens   thop hooks modules of kinds that it knows. A head written as F.linear on a parameter (tied or
#           generated heads are) counts 0 operations and 0 parameters, without a word.
# Bites     Who reports the savings of early exits: heads of such a form cost nothing, so every early exit
#           looks cheaper than it is, and thresholds chosen for a budget overrun it.
# Offramp   Costs follow from the description of the network, with no run, and are held to the integers of the
#           papers' tables (tests Cost.*).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 torch==2.15.0 thop==0.1.1.post2209072238
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import torch
import torch.nn.functional as F
from thop import profile
from torch import nn

print("thop", version("thop"), "torch", torch.__version__)


class ByModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(64, 32)
        self.head = nn.Linear(32, 1000, bias=False)

    def forward(self, x):
        return self.head(torch.relu(self.trunk(x)))


class ByFunction(nn.Module):
    def __init__(self, like):
        super().__init__()
        self.trunk = like.trunk
        self.head = nn.Parameter(like.head.weight.detach().clone())

    def forward(self, x):
        return F.linear(torch.relu(self.trunk(x)), self.head)


first = ByModule()
second = ByFunction(first)
x = torch.linspace(-1, 1, 64)[None]
assert torch.equal(first(x), second(x))
counts = [profile(net, (x,), verbose=False) for net in (first, second)]
for name, (operations, parameters) in zip(("nn.Linear", "F.linear"), counts):
    print(f"head by {name}: {operations:.0f} operations, {parameters:.0f} parameters")
print("by hand: trunk", 64 * 32, "head", 32 * 1000, "parameters", sum(p.numel() for p in second.parameters()))
assert counts[0] == (64 * 32 + 32 * 1000, 64 * 32 + 32 + 32 * 1000)
assert counts[1] == (64 * 32, 64 * 32 + 32)
EOF
