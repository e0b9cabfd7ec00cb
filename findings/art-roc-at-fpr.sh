#!/usr/bin/env bash
# adversarial-robustness-toolbox 1.20.1 (scikit-learn 1.9.1, SciPy 1.17.1, NumPy 2.4.6): true positives at a false positive rate.
#
# Expected  get_roc_for_fpr(.., targeted_fpr=0.2) is the worst case: the most members an attack names with at most 20 % of
#           the others, over the thresholds that its scores allow.
# Happens   It takes the curve from scikit-learn's roc_curve, which by default leaves out points on a straight line between
#           their neighbours, and answers with the last one that is left below the limit. Scores on a grid (votes
#           of shadow models, agreeing exits) make such lines: 0.14 for 0.42, and in drawn votes too, there by luck of the
#           counts in one audit of twenty. Nothing is interpolated, so nothing shows it.
# Bites     Who reports an audit "at 0.1, 1, 10 % false positives": the attack comes out weaker than it is. The usual
#           two lines around roc_curve have the same fault; drop_intermediate=False mends them.
# Offramp   `stats roc` takes every threshold into account (Roc.PointsCountDecisionsAtEveryScore).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 \
  adversarial-robustness-toolbox==1.20.1 packaging==26.4  # which it imports and does not ask for
"$work/venv/bin/python" - <<'EOF'
import warnings
from importlib.metadata import version

import numpy as np

warnings.simplefilter("ignore", UserWarning)  # that PyTorch is not there
from art.metrics.privacy import get_roc_for_fpr
from sklearn.metrics import roc_curve

print("adversarial-robustness-toolbox", version("adversarial-robustness-toolbox"), "scikit-learn", version("scikit-learn"))


def by_counting(scores, member, limit):
    """The best true positive rate of all thresholds with false positives up to the limit."""
    pairs = [((scores[member == 0] >= t).mean(), (scores[member == 1] >= t).mean()) for t in np.unique(scores)]
    return max((tpr for fpr, tpr in pairs if fpr <= limit), default=0.0)


# 1,000 members and 1,000 others; how many of nine shadow models vote "member".
votes = np.arange(10)
scores = np.concatenate([np.repeat(votes, [60] * 5 + [140] * 5), np.repeat(votes, [140] * 5 + [60] * 5)]) / 9
member = np.repeat([1, 0], 1000)
for limit in (0.06, 0.1, 0.12, 0.2, 0.3):
    fpr, tpr, threshold = (float(x) for x in get_roc_for_fpr(scores, member, targeted_fpr=limit)[0])
    f, t, _ = roc_curve(member, scores, drop_intermediate=False)
    full = float(t[f <= limit][-1])
    print(f"at most {limit:.0%} false positives: ART {tpr:.2f} (at {fpr:.0%}, threshold {threshold:.2f}), by counting "
          f"{by_counting(scores, member, limit):.2f}, roc_curve with every point {full:.2f}")
    assert full == by_counting(scores, member, limit)
    if limit == 0.2:
        assert abs(tpr - 0.14) < 1e-9 and abs(full - 0.42) < 1e-9
    if limit == 0.3:
        assert abs(tpr - full) < 1e-9

# Drawn, not made: 200 members and 200 others, votes of 64 shadow models.
rng, lower, worst = np.random.default_rng(1), 0, (1.0, 1.0, 1.0)
AUDITS = 300
for _ in range(AUDITS):
    scores = np.concatenate([rng.binomial(64, rng.beta(2.5, 2, 200)), rng.binomial(64, rng.beta(2, 2, 200))]) / 64
    member = np.repeat([1, 0], 200)
    got, best = float(get_roc_for_fpr(scores, member, targeted_fpr=0.01)[0][1]), by_counting(scores, member, 0.01)
    if got < best - 1e-9:
        lower += 1
        worst = min(worst, (got / best, got, best))
print(f"{AUDITS} drawn audits at 1 %: {lower} too low, the worst {worst[1]:.3f} for {worst[2]:.3f}")
assert lower > 0 and worst[0] < 0.8
EOF
