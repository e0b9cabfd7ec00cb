#!/usr/bin/env bash
# NumPy 2.4.6: the standard deviation of half-precision columns.
#
# Expected  std(axis=0) as exact as mean(axis=0), which sums in single precision.
# Happens   The squares are summed in half precision. Down a column of some thousand values the sum stops
#           growing or jumps in steps: 0.23 for 0.10 and no warning, while the mean beside it is right.
#           Rows (axis=1, summed in pairs) come out right for the same numbers.
# Bites     Who stores pictures, features or confidences as float16 and takes the statistics for a
#           normalisation from them: every input is then scaled wrongly.
# Offramp   float16 arrays are widened on reading (Npy.OtherTypesBecomeTheNearestKept); its own statistics are
#           sums in double.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile numpy==2.4.6
"$work/venv/bin/python" - <<'EOF'
import numpy

print("numpy", numpy.__version__)
seen = {}
for n in (500, 5000, 10000):
    column = numpy.where(numpy.arange(n) % 2 == 0, 0.4, 0.6).astype(numpy.float16)
    table = numpy.repeat(column[:, None], 3, axis=1)
    seen[n] = float(table.std(axis=0)[0])
    print(f"{n:5} rows of 0.4 and 0.6: mean(axis=0) {table.mean(axis=0)[0]:.4f}, "
          f"std(axis=0) {table.std(axis=0)[0]:.4f}; "
          f"std(axis=1) of the transpose {table.T.copy().std(axis=1)[0]:.4f}, "
          f"std(axis=0, dtype=float32) {table.std(axis=0, dtype=numpy.float32)[0]:.4f}")
    assert abs(float(table.mean(axis=0)[0]) - 0.5) < 1e-3
    assert abs(float(table.T.copy().std(axis=1)[0]) - 0.1) < 1e-3
    assert abs(float(table.std(axis=0, dtype=numpy.float32)[0]) - 0.1) < 1e-3
assert abs(seen[500] - 0.1) < 2e-3
assert seen[5000] > 0.13 and seen[10000] > 0.2
EOF
