#!/usr/bin/env bash
# SciPy 1.17.1 (NumPy 2.4.6): scipy.stats.ttest_rel on unsigned integers.
#
# Expected  Clocks count nanoseconds in unsigned 64-bit integers; a paired test of two such columns equals
#           the test of the same numbers as doubles, as it does for ttest_ind.
# Happens   The pairs are subtracted as unsigned integers, so every negative difference becomes about 1.8e19.
#           All of them negative: t = +inf, p = 0. Most of them: t = 18.7 for -13.8, so the faster column
#           is called the slower one, with certainty. No warning names the cause.
# Bites     Whoever asks whether one exit is slower than another, with times straight from a clock or a trace.
# Offramp   Reads times as doubles, and its paired tests (sign, Wilcoxon) take doubles only.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6 scipy==1.17.1
"$work/venv/bin/python" - <<'EOF'
import warnings

import numpy
import scipy
from scipy import stats

warnings.simplefilter("ignore", RuntimeWarning)
print("scipy", scipy.__version__, "numpy", numpy.__version__)


def both(name, a, b):
    """The paired test as the clock gives the numbers, and as doubles."""
    wrapped = stats.ttest_rel(a, b)
    right = stats.ttest_rel(a.astype(numpy.float64), b.astype(numpy.float64))
    print(f"{name}: uint64 t = {wrapped.statistic:.4g}, p = {wrapped.pvalue:.3g};"
          f"  float64 t = {right.statistic:.4g}, p = {right.pvalue:.3g}")
    return wrapped, right


early = numpy.array([1000, 1010, 990, 1005], dtype=numpy.uint64)
late = early + numpy.array([3, 2, 4, 3], dtype=numpy.uint64)
wrapped, right = both("always faster", early, late)
assert wrapped.statistic > 0 and wrapped.pvalue == 0
assert right.statistic < -7 and 0.001 < right.pvalue < 0.01

# 40 pairs, 36 of them 30 to 65 ns faster, 4 of them 5 ns slower.
early = numpy.arange(2000, 2400, 10, dtype=numpy.uint64)
gain = numpy.array([-5 if i % 10 == 0 else 30 + i % 36 for i in range(40)])
late = (early.astype(numpy.int64) + gain).astype(numpy.uint64)
wrapped, right = both("faster in 36 of 40", early, late)
assert wrapped.statistic > 0
assert right.statistic < -10
a, b = stats.ttest_ind(early, late), stats.ttest_ind(early.astype(float), late.astype(float))
print(f"ttest_ind, same columns: uint64 t = {a.statistic:.4f}, float64 t = {b.statistic:.4f}")
assert abs(a.statistic - b.statistic) < 1e-6
EOF
