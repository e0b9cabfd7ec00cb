#!/usr/bin/env bash
# torchmetrics 1.9.0 (torch 2.15.0, NumPy 2.4.6): BinaryAUROC of scores that are no probabilities.
#
# Expected  The area depends on the order of the scores alone.
# Happens   A batch with a score outside [0, 1] goes through a sigmoid in single precision. Log odds of
#           membership around 20 all become 1: a thousand different scores become 65, the area falls from
#           0.714 to 0.592. And it is done batch by batch: the same six scores give 0.889 in one batch and
#           0.778 in two, because one of the two lies inside [0, 1] and keeps its numbers.
# Bites     Who measures a membership attack by likelihood ratios (scores of any size): an attack that works
#           reads as a useless one, and the number changes with the batch size.
# Offramp   stats roc ranks the scores as doubles of any range, ties half
#           (Roc.AucIsTheShareOfCorrectOrdersTiesHalf).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 torch==2.15.0 torchmetrics==1.9.0
"$work/venv/bin/python" - <<'EOF'
from statistics import NormalDist

import numpy
import torch
import torchmetrics
from torchmetrics.classification import BinaryAUROC

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)


def in_batches(scores, truth, batches):
    metric = BinaryAUROC()
    for s, t in zip(numpy.array_split(scores, batches), numpy.array_split(truth, batches)):
        metric.update(torch.tensor(s, dtype=torch.float32), torch.tensor(t))
    return float(metric.compute())


def by_counting(scores, truth):
    """Share of pairs in the right order, ties half."""
    d = scores[truth == 1][:, None] - scores[truth == 0][None, :]
    return float((d > 0).mean() + (d == 0).mean() / 2)


z = numpy.array([NormalDist().inv_cdf((i + 0.5) / 500) for i in range(500)])
scores = numpy.concatenate([24 + 5 * z, 20 + 5 * z]).astype(numpy.float32)  # members, non-members
truth = numpy.repeat([1, 0], 500)
squashed = torch.tensor(scores).sigmoid().unique().numel()
right, got = by_counting(scores, truth), in_batches(scores, truth, 1)
print(f"log odds 24 against 20, spread 5: AUROC {got:.4f}, by counting {right:.4f}; "
      f"{len(numpy.unique(scores))} scores, {squashed} after the sigmoid")
assert abs(right - 0.714) < 0.001 and got < 0.61
inside = (scores - scores.min()) / (scores.max() - scores.min())
print(f"same scores mapped to [0, 1]: {in_batches(inside, truth, 1):.4f}")
assert abs(in_batches(inside, truth, 1) - right) < 0.001

scores, truth = numpy.array([0.1, 0.4, 0.9, 0.6, 2.0, 3.0]), numpy.array([0, 0, 0, 1, 1, 1])
one, two = in_batches(scores, truth, 1), in_batches(scores, truth, 2)
print(f"six scores {scores.tolist()}: {one:.4f} in one batch, {two:.4f} in two, "
      f"by counting {by_counting(scores, truth):.4f}")
assert abs(one - 8 / 9) < 1e-6 and abs(two - 7 / 9) < 1e-6
EOF
