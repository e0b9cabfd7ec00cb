#!/usr/bin/env bash
# scikit-learn 1.9.1 (NumPy 2.4.6, SciPy 1.17.1): roc_auc_score with max_fpr.
#
# Expected  The area under the curve up to the limit: at most 0.01 for max_fpr=0.01, and smaller for a
#           smaller limit.
# Happens   McClish's standardised area: 0.5 for a guess, 1 for a perfect attack, at every limit. An attack
#           that finds a fifth of the members without one false alarm reads 0.5998 at 0.1 %, 1 % and 10 %,
#           although it is 400, 41 and 5 times better there than a guess.
# Bites     Who reports a membership attack at few false positives: 0.6 looks like a weak attack, and a
#           table that mixes it with plain areas compares two things.
# Offramp   stats roc prints the whole area and the rate reached at each limit by a real threshold, and no
#           partial area (Roc.PointsCountDecisionsAtEveryScore).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$work/venv/bin/python" - <<'EOF'
import numpy
import sklearn
from sklearn.metrics import roc_auc_score, roc_curve

print("scikit-learn", sklearn.__version__, "numpy", numpy.__version__)
# 1,000 non-members with scores 0..999; of 1,000 members 200 score above all of them, the rest as they do.
non_members = numpy.arange(1000.0)
members = numpy.concatenate([numpy.full(200, 1000.0), numpy.arange(800) * 1.25 - 0.25])
truth = numpy.concatenate([numpy.ones(1000), numpy.zeros(1000)])
scores = numpy.concatenate([members, non_members])
fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
for limit in (0.001, 0.01, 0.1):
    inside = fpr <= limit
    area = float(numpy.trapezoid(tpr[inside], fpr[inside]))
    guess = limit * limit / 2
    standard = 0.5 * (1 + (area - guess) / (limit - guess))
    got = roc_auc_score(truth, scores, max_fpr=limit)
    print(f"max_fpr {limit}: {got:.4f}; area up to there {area:.6f}, {area / guess:.1f} times a guess; "
          f"standardised by hand {standard:.4f}")
    assert abs(got - standard) < 1e-3
    assert area < limit < 0.5 < got
EOF
