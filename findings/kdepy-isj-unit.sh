#!/usr/bin/env bash
# KDEpy 1.1.12 (NumPy 2.4.6, SciPy 1.17.1): the improved Sheather-Jones bandwidth.
#
# Expected  A bandwidth scales with the data: in microseconds it is 1,000 times the one in milliseconds.
# Happens   It does not. The grid reaches 6 units or half the range beyond the data, whichever is more, but
#           the result is scaled by the range of the data alone. Up to a range of 12 the answer follows the
#           unit; above it, it is half of what Botev's rule gives.
# Bites     Who estimates exits from times in seconds (a bandwidth many times too small: peaks everywhere) and
#           who compares a bandwidth of ours with it.
# Offramp   Its ISJ follows shift and scale (Bandwidth.AllRulesFollowShiftScaleAndIgnoreOrder) and is held to
#           twice this one's value on a wide range (Bandwidth.IsjMeetsThePublicImplementationsFixedPoint).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 scipy==1.17.1 KDEpy==1.1.12
"$work/venv/bin/python" - <<'EOF'
from statistics import NormalDist

import numpy
from importlib.metadata import version
from KDEpy.bw_selection import improved_sheather_jones, silvermans_rule

print("KDEpy", version("KDEpy"), "numpy", numpy.__version__)
# Quantiles of one normal distribution, where the best bandwidth is known: 1.06 sd n^(-1/5).
n = 1000
sample = numpy.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])
best = 1.06 * n**-0.2
relative = {}
for unit, scale in (("s", 1e-3), ("ms", 1.0), ("us", 1e3), ("ns", 1e6)):
    relative[unit] = improved_sheather_jones((sample * scale)[:, None]) / scale
    silverman = silvermans_rule((sample * scale)[:, None]) / scale
    print(f"{unit:2}: ISJ {relative[unit]:.5f} ms, Silverman {silverman:.5f} ms, best {best:.5f} ms")
    assert abs(silverman / best - 1) < 0.2
assert relative["s"] < 0.2 * best
assert abs(relative["us"] / best - 0.5) < 0.1
assert abs(relative["ns"] / relative["us"] - 1) < 1e-6
assert relative["ms"] / relative["s"] > 2
EOF
