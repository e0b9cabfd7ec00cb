#!/usr/bin/env bash
# scikit-learn 1.9.1 (NumPy 2.4.6, SciPy 1.17.1): GaussianMixture and the unit of the data.
#
# Expected  Clusters do not depend on the unit: times in milliseconds and the same times in seconds.
# Happens   reg_covar adds 1e-6 to every variance, in the square of the unit. In seconds that is a standard
#           deviation of 1 ms: four exits 1 ms apart with 12 us of noise become two groups, two others get
#           nothing, and BIC finds one exit. In milliseconds the same call separates all four.
# Bites     Who counts exits by a mixture and BIC, with times from time.perf_counter(), which are seconds.
# Offramp   Has no mixture and no absolute constant in a bandwidth; the same trace in another unit gives the
#           same exits.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" install --quiet --no-compile \
  numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$work/venv/bin/python" - <<'EOF'
from statistics import NormalDist

import numpy
import sklearn
from sklearn.mixture import GaussianMixture

print("scikit-learn", sklearn.__version__, "numpy", numpy.__version__)
noise = 0.01 * numpy.array([NormalDist().inv_cdf((i + 0.5) / 300) for i in range(300)])
milliseconds = numpy.concatenate([exit + noise for exit in (1, 2, 3, 4)])
counts, chosen = {}, {}
for unit, scale in (("s", 1e-3), ("ms", 1.0), ("us", 1e3)):
    times = (milliseconds * scale)[:, None]
    labels = GaussianMixture(4, random_state=0).fit_predict(times)
    counts[unit] = sorted(numpy.bincount(labels, minlength=4).tolist())
    bic = [GaussianMixture(k, random_state=0).fit(times).bic(times) for k in range(1, 7)]
    chosen[unit] = 1 + int(numpy.argmin(bic))
    print(f"{unit:2}: sizes of 4 components {counts[unit]}, BIC takes {chosen[unit]} of 1 to 6")
assert counts["ms"] == counts["us"] == [300, 300, 300, 300]
assert chosen["ms"] == chosen["us"] == 4
assert counts["s"] != [300, 300, 300, 300] and chosen["s"] == 1
fixed = GaussianMixture(4, random_state=0, reg_covar=1e-12).fit_predict((milliseconds * 1e-3)[:, None])
print("s, reg_covar=1e-12:", numpy.bincount(fixed, minlength=4).tolist())
assert sorted(numpy.bincount(fixed).tolist()) == [300, 300, 300, 300]
EOF
