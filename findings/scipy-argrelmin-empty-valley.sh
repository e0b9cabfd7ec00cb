#!/usr/bin/env bash
# SciPy 1.17.1 (NumPy 2.4.6): scipy.signal.argrelmin on a kernel density.
#
# Expected  The further two clusters lie apart, the easier it is to find the valley between them.
# Happens   Beyond about 77 bandwidths the density between the clusters underflows to 0. The valley is a
#           plateau, argrelmin asks for a strict minimum, and the best separated clusters have no valley.
#           (find_peaks on the negated density counts a plateau once, at its middle.)
# Bites     Who counts exits by the valleys of a density of response times: a victim whose exits are told
#           apart at a glance is said to have one exit, a noisier one is solved.
# Offramp   Counts an empty stretch once, at its middle (Valleys.EmptyStretchesCountOnceAtTheirMiddle).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 scipy==1.17.1
"$work/venv/bin/python" - <<'EOF'
import numpy
import scipy
from scipy.signal import argrelmin, find_peaks

print("scipy", scipy.__version__, "numpy", numpy.__version__)
bandwidth = 1.0
spread = numpy.linspace(-1, 1, 101)
found, plateau = {}, {}
for gap in (6, 20, 60, 75, 90, 120, 1000):
    times = numpy.concatenate([spread, gap + spread])
    grid = numpy.linspace(-5, gap + 5, 40 * (gap + 10) + 1)
    density = numpy.exp(-0.5 * ((grid[:, None] - times) / bandwidth) ** 2).sum(axis=1)
    found[gap] = len(argrelmin(density)[0])
    plateau[gap] = len(find_peaks(-density)[0])
    print(f"clusters {gap:4} bandwidths apart: {found[gap]} valley(s) by argrelmin, {plateau[gap]} by "
          f"find_peaks; zeros of the density: {int((density == 0).sum())}")
assert all(found[gap] == 1 for gap in (6, 20, 60, 75))
assert all(found[gap] == 0 for gap in (90, 120, 1000))
assert all(n == 1 for n in plateau.values())
EOF
