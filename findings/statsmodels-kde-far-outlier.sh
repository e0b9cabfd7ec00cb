#!/usr/bin/env bash
# statsmodels 0.15.0 (NumPy 2.4.6, SciPy 1.17.1): KDEUnivariate and one far value.
#
# Expected  One value of 1,000 far away adds one small bump far away. The bandwidth is given, so nothing else
#           moves.
# Happens   The grid of the fast transform has about as many points as there are values and spans all of
#           them; its binning leaves out the first two cells. With one value of a second among
#           milliseconds those cells hold the fastest cluster: a third of the mass is gone, no warning.
#           fft=False keeps it.
# Bites     Who looks for exits in times with one stall in them: the earliest exit, the one that most
#           pictures take, is the one that disappears.
# Offramp   The cells follow the bandwidth, not the range, and an empty stretch is left out, so the other
#           peaks stay (Valleys.OneFarValueLeavesTheOthersWhereTheyAre). The bandwidth of an estimate from
#           single measurements does look at all of them: there a stall of a minute merges the exits, and
#           the estimate is called unreliable.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 statsmodels==0.15.0
"$work/venv/bin/python" - <<'EOF'
from statistics import NormalDist

import numpy
import statsmodels
from statsmodels.nonparametric.kde import KDEUnivariate

print("statsmodels", statsmodels.__version__, "numpy", numpy.__version__)
noise = 0.01 * numpy.array([NormalDist().inv_cdf((i + 0.5) / 1000) for i in range(1000)])
times = numpy.concatenate([exit + noise for exit in (1, 2, 3)])  # ms
mass, direct = {}, {}
for stall in (None, 10.0, 1000.0):
    values = times if stall is None else numpy.append(times, stall)
    density = KDEUnivariate(values)
    density.fit(bw=0.025)
    step = density.support[1] - density.support[0]
    mass[stall] = float(density.density.sum() * step)
    direct[stall] = [float(density.evaluate(exit)[0]) for exit in (1, 2, 3)]
    name = "no stall" if stall is None else f"one value of {stall:.0f} ms"
    print(f"{name}: {len(density.support)} grid points {step:.4f} ms apart, mass {mass[stall]:.4f}; "
          f"summed directly at 1, 2, 3 ms: {' '.join(f'{v:.3f}' for v in direct[stall])}")
    assert max(direct[stall]) - min(direct[stall]) < 1e-2 * max(direct[stall])
assert abs(mass[None] - 1) < 1e-3 and abs(mass[10.0] - 1) < 1e-3
assert abs(mass[1000.0] - 2 / 3) < 0.01
density.fit(bw=0.025, gridsize=2**18)
fine = float(density.density.sum() * (density.support[1] - density.support[0]))
print(f"one value of 1000 ms, gridsize=2**18: mass {fine:.4f}")
assert abs(fine - 1) < 1e-3
EOF
