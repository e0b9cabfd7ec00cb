#!/usr/bin/env bash
# torchattacks 3.5.1 (torch 2.15.0, torchvision 0.29.2, NumPy 2.4.6): FGSM and PGD on a NaN gradient.
#
# Expected  A gradient that is not a number stops the attack, or shows in the pictures it returns.
# Happens   The sign of NaN is 0 in torch, so no step is taken: FGSM returns the pictures unchanged, PGD its
#           random start. No warning; the victim counts as robust. One square root at 0 is enough (a pruned
#           group of features, normalised by its length): the same network with 1e-20 under the root, equal
#           in every output, falls.
# Bites     Who reports robust accuracy: a fault of the victim's gradient reads as a defence.
# Offramp   The sign of NaN is NaN, and a step keeps it in the picture, where it is seen
#           (ElementwiseFloat.LinfStepShowsANanGradient).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 torch==2.15.0 torchvision==0.29.2 torchattacks==3.5.1
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import torch
import torchattacks
from torch import nn

print("torchattacks", version("torchattacks"), "torch", torch.__version__)
torch.manual_seed(0)
LIVE, PRUNED, HEAD = torch.randn(192, 64), torch.zeros(192, 16), torch.randn(80, 10)


class Victim(nn.Module):
    """Two groups of features, each divided by its length; the weights of the second are pruned."""

    def __init__(self, under_root):
        super().__init__()
        self.under_root = under_root
        self.live, self.pruned, self.head = (nn.Parameter(w, False) for w in (LIVE, PRUNED, HEAD))

    def forward(self, x):
        x = x.flatten(1) - 0.5
        groups = [torch.relu(x @ self.live), x @ self.pruned]
        lengths = [(g.square().sum(1, keepdim=True) + self.under_root).sqrt() for g in groups]
        scaled = [g / (length + 1e-6) for g, length in zip(groups, lengths)]
        return torch.cat(scaled, 1) @ self.head


pictures = torch.rand(200, 3, 8, 8)
labels = Victim(0.0)(pictures).argmax(1)
assert torch.equal(Victim(0.0)(pictures), Victim(1e-20)(pictures))
for name, under_root in (("root of 0", 0.0), ("root of 1e-20", 1e-20)):
    victim = Victim(under_root).eval()
    x = pictures.clone().requires_grad_()
    nn.functional.cross_entropy(victim(x), labels).backward()
    missing = int(x.grad.isnan().sum())
    accuracy = {}
    attacks = [torchattacks.FGSM(victim, eps=8 / 255), torchattacks.PGD(victim, eps=8 / 255, steps=10)]
    for attack in attacks:
        turned = attack(pictures, labels)
        kind = type(attack).__name__
        accuracy[kind] = float((victim(turned).argmax(1) == labels).float().mean())
        if kind == "FGSM":
            same = torch.equal(turned, pictures)
    print(f"{name}: {missing} of {x.numel()} gradients NaN; accuracy under FGSM {accuracy['FGSM']:.3f}, "
          f"PGD {accuracy['PGD']:.3f}; FGSM changed nothing: {same}")
    if under_root == 0:
        assert missing == x.numel() and same and accuracy["FGSM"] == 1 and accuracy["PGD"] > 0.8
    else:
        assert missing == 0 and not same and accuracy["FGSM"] < 0.4 and accuracy["PGD"] < 0.2
EOF
