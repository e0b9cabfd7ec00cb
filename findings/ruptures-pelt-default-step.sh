#!/usr/bin/env bash
# ruptures 1.1.10 (NumPy 2.4.6, SciPy 1.17.1): Pelt with its default grid.
#
# Expected  PELT is exact: one clean step at sample 103 is one change, at 103.
# Happens   With the default jump=5 only multiples of 5 may be changes. Under the squared cost it pays to cut
#           twice: [100, 105, 200], two changes, neither at the step. jump=1 gives [103, 200].
# Bites     Who finds exits as changes in sorted times, or slow spells of a machine in a trace: one spare
#           exit of five samples, with a place that is off by three.
# Offramp   Every start is allowed; every solver reaches the optimum of full dynamic programming, and one
#           clean step is found where it is (Segmentation.OneCleanStepIsFoundWhereItIs).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 scipy==1.17.1 ruptures==1.1.10
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import numpy
import ruptures

print("ruptures", version("ruptures"), "numpy", numpy.__version__)
signal = numpy.concatenate([numpy.zeros(103), numpy.full(97, 5.0)])


def cost(ends):
    """Sum of squares inside the segments."""
    starts = [0] + ends[:-1]
    return sum(float(((signal[a:b] - signal[a:b].mean()) ** 2).sum()) for a, b in zip(starts, ends))


default = ruptures.Pelt(model="l2").fit_predict(signal, pen=3)
exact = ruptures.Pelt(model="l2", jump=1).fit_predict(signal, pen=3)
print(f"default {default}, squares {cost(default):.1f}; jump=1 {exact}, squares {cost(exact):.1f}")
assert default == [100, 105, 200]
assert exact == [103, 200]
steps = [numpy.where(numpy.arange(200) < place, 0.0, 5.0) for place in range(20, 180)]
wrong = sum(len(ruptures.Pelt(model="l2").fit_predict(step, pen=3)) != 2 for step in steps)
print(f"more than one change for {wrong} of 160 places of the step")
assert wrong > 80
EOF
