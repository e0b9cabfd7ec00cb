"""Peers of exits_bench on the same tables: a Gaussian mixture chosen by BIC, and changepoints of the sorted times.

python exits_peers.py FILE.csv ..    (numpy, scikit-learn, ruptures; columns as exits_bench takes them, one time a row)
"""
import csv
import sys

import numpy as np
import ruptures
from sklearn.mixture import GaussianMixture


def read(path):
    with open(path) as file:
        rows = list(csv.DictReader(file))
    head = rows[0].keys()
    exits = np.array([int(r["exit" if "exit" in head else "No of Blocks"]) for r in rows])
    if "Time" in head:
        return np.array([float(r["Time"]) * 1e3 for r in rows]), exits
    repetitions = [c for c in head if c[0] == "t" and c[1:].isdigit()]
    return np.array([min(float(r[c]) for c in repetitions) * 1e-6 for r in rows]), exits


def by_mixture(ms):
    x = ms.reshape(-1, 1)
    fits = [GaussianMixture(k, n_init=3, random_state=0, reg_covar=1e-6).fit(x) for k in range(1, 11)]
    best = min(fits, key=lambda f: f.bic(x))
    rank = np.empty(best.n_components, int)
    rank[np.argsort(best.means_.ravel())] = np.arange(1, best.n_components + 1)
    return best.n_components, rank[best.predict(x)]


def by_ruptures(ms):
    order = np.argsort(ms, kind="stable")
    # A mean, a variance and a place for each changepoint: the penalty of BIC.
    ends = ruptures.Pelt(model="normal", min_size=10, jump=1).fit_predict(ms[order], pen=3 * np.log(len(ms)))
    exits = np.empty(len(ms), int)
    begin = 0
    for k, end in enumerate(ends, 1):
        exits[order[begin:end]] = k
        begin = end
    return len(ends), exits


print("| table | exits | mixture by BIC | ruptures |\n|---|---|---|---|")
for path in sys.argv[1:]:
    times, truth = read(path)
    cells = [path.split("/")[-1], str(truth.max())]
    for found, exits in (by_mixture(times), by_ruptures(times)):
        cells.append(f"{found} / {np.mean(exits == truth):.4f}")
    print("| " + " | ".join(cells) + " |", flush=True)
