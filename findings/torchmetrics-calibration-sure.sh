#!/usr/bin/env bash
# torchmetrics 1.9.0 (torch 2.15.0, NumPy 2.4.6): the expected calibration error where confidences reach 1.
#
# Expected  15 bins are 15 bins, the last of them from 14/15 to 1, both ends counted: the definition of the papers.
# Happens   A confidence of exactly 1 goes into a sixteenth bin that nobody asked for. In single precision softmax gives
#           1 as soon as the first of ten logits leads by 20, so late exits are full of them. Too sure at 1 and not
#           sure enough just below cancel within a bin by the definition; here they add up.
# Bites     Who compares the calibration of exits or of temperatures: 0.049 for 0.001, and with leads of 15 instead of
#           20, every confidence the same to five digits, it falls to a thirtieth.
# Offramp   Computes no calibration error. Its confidences meet thresholds in double, 1 with the others
#           (ExitPolicy.ThresholdsAreComparedInDouble).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 torch==2.15.0 torchmetrics==1.9.0
"$work/venv/bin/python" - <<'EOF'
import numpy
import torch
import torchmetrics
from torchmetrics.classification import MulticlassCalibrationError

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)
CLASSES, BINS = 10, 15


def by_hand(confidences, right):
    """Each confidence into the bin it lies in, 1 into the last."""
    bins = numpy.minimum((confidences * BINS).astype(int), BINS - 1)
    return sum(abs(confidences[bins == b].sum() - right[bins == b].sum()) for b in set(bins)) / len(bins)


# 2,000 images: half lead by 15 or 20 and are right in 95 of 100, half lead by 5.2 (0.953) and are all right.
right = numpy.concatenate([numpy.arange(1000) % 20 != 0, numpy.ones(1000, bool)])
labels = torch.tensor(numpy.where(right, 0, 1))
found = {}
for lead in (15.0, 20.0):
    logits = torch.zeros(2000, CLASSES)
    logits[:1000, 0], logits[1000:, 0] = lead, 5.2
    confidences = logits.softmax(1)
    top = confidences.amax(1)
    metric = MulticlassCalibrationError(CLASSES, n_bins=BINS)
    found[lead], hand = float(metric(confidences, labels)), by_hand(top.double().numpy(), right)
    print(f"leads of {lead:.0f}: largest confidence {float(top.max()):.8f}, {int((top == 1).sum())} of 2000 are 1; {BINS} bins: "
          f"torchmetrics {found[lead]:.4f}, by hand {hand:.4f}")
    assert hand < 0.002
    if lead == 20:
        assert (top == 1).sum() == 1000 and found[lead] > 20 * hand
    else:
        assert (top == 1).sum() == 0 and abs(found[lead] - hand) < 2e-4
EOF
