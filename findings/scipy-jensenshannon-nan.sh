#!/usr/bin/env bash
# SciPy 1.17.1 (NumPy 2.4.6): scipy.spatial.distance.jensenshannon.
#
# Expected  Two distributions that differ in the last bit have a distance of about 0.
# Happens   Often NaN. The two relative entropies are summed as they come; rounding leaves a sum a little
#           below 0, and its root is NaN. Equal distributions give 0, and so does a fair part of the
#           nearly equal ones, so the fault comes and goes with the data.
# Bites     Who compares the losses of members and non-members, or the exits of victim and substitute, and
#           averages the distances: one well matched pair turns the whole mean into NaN.
# Offramp   Sets the two sums of p ln(p/m) to 0 where rounding takes them below it, and gives the divergence,
#           not its root (stats/divergences.cpp).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 scipy==1.17.1
"$work/venv/bin/python" - <<'EOF'
import warnings

import numpy
import scipy
from scipy.spatial.distance import jensenshannon

warnings.simplefilter("ignore", RuntimeWarning)
print("scipy", scipy.__version__, "numpy", numpy.__version__)
nan, tried = 0, 0
for bins in range(2, 102):
    p = numpy.arange(1.0, bins + 1)
    q = p.copy()
    q[-1] = numpy.nextafter(q[-1], numpy.inf)  # one count larger by one part in 1e16
    distance = jensenshannon(p, q)
    tried += 1
    nan += bool(numpy.isnan(distance))
    if bins <= 6:
        print(f"{bins} bins, last count one ulp apart: {distance}")
    assert jensenshannon(p, p) == 0
print(f"NaN for {nan} of {tried} pairs; every p against itself gives 0")
assert nan >= 10
EOF
