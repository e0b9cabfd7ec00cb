#!/usr/bin/env bash
# adversarial-robustness-toolbox 1.20.0 (torch 2.15.0, NumPy 2.4.6): HopSkipJump hands a float32 model doubles.
#
# Expected  Pictures in float32 are asked about in float32, as in ART's other attacks and with NumPy 1.
# Happens   The search between picture and start weighs them with NumPy's double scalars, which NumPy 2 no longer
#           counts as weak: (1 - alpha) * original + alpha * current is float64, and so is what the model gets.
# Bites     Every PyTorch model with float32 weights: "expected scalar type Double but found Float" at the first search. Whose
#           model converts by itself asks about other points than it thinks to, in twice the memory.
# Offramp   Blends in double and rounds each point to float32 before it is asked about (attacks/membership/hop_skip_jump.cpp).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 torch==2.15.0 adversarial-robustness-toolbox==1.20.0 packaging==26.4  # which it imports and does not ask for
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import numpy as np
import torch
from art.attacks.evasion import HopSkipJump
from art.estimators.classification import PyTorchClassifier

print("adversarial-robustness-toolbox", version("adversarial-robustness-toolbox"), "numpy", np.__version__)
seen = set()


class Victim(torch.nn.Module):
    """Which of two features is larger; takes any type and notes it."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2, bias=False)
        self.linear.weight.data = torch.eye(2)

    def forward(self, x):
        seen.add(str(x.dtype))
        return self.linear(x.float())


art = PyTorchClassifier(Victim(), torch.nn.CrossEntropyLoss(), (2,), 2, clip_values=(0, 1), device_type="cpu")
picture = np.array([[0.6, 0.4]], dtype=np.float32)
found = HopSkipJump(art, targeted=False, norm=2, max_iter=1, init_eval=10, max_eval=10, verbose=False).generate(picture)
print("asked about in", sorted(seen), "from", picture.dtype, "to", found.dtype)
assert "torch.float64" in seen and picture.dtype == found.dtype == np.float32
EOF
