"""Our benchmarks and the Python peers on the same data in the same run; prints every ratio.

usage: peers.py BENCH_DIR {kde,changepoint,segmentation} [n ...]
needs numpy, scipy, scikit-learn, KDEpy, bayesian_changepoint_detection, ruptures in a throw-away environment
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

bench_dir, what = sys.argv[1], sys.argv[2]
sizes = [int(float(a)) for a in sys.argv[3:]]
folder = tempfile.mkdtemp()


def save(name, values):
    path = os.path.join(folder, name)
    np.asarray(values, dtype="<f8").tofile(path)
    return path


def ours(program, *args):
    out = subprocess.run([os.path.join(bench_dir, program), *map(str, args)], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def median_ms(f, least):
    times = []
    while len(times) < least or (sum(times) < 0.5 and len(times) < 200):
        begin = time.perf_counter()
        f()
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


def line(name, ms, mine, error=None):
    print(f"  {name:34s} {ms:12.4g} ms   ours/peer {mine / ms:9.3g}" + ("" if error is None else f"   error {error:.2g}"))


def mixture(n):
    rng = np.random.default_rng(1)
    return np.where(rng.random(n) < 0.5, rng.normal(0, 1, n), rng.normal(6, 0.5, n))


def kde(n):
    from KDEpy import FFTKDE
    from scipy.stats import gaussian_kde
    from sklearn.neighbors import KernelDensity

    x = mixture(n)
    iqr = np.subtract(*np.percentile(x, [75, 25]))
    h = 0.9 * min(x.std(ddof=1), iqr / 1.34) * n ** -0.2
    points = np.linspace(x.min() - 3 * h, x.max() + 3 * h, 1024)
    args = (save("x", x), save("points", points), h)
    first = ours("kde_bench", *args)
    print(f"KDE n = {n}, h = {h:.4g}, 1024 points")
    rows = []
    scipy_kde = gaussian_kde(x, bw_method=h / x.std(ddof=1))
    exact = scipy_kde(points)
    rows.append(("scipy gaussian_kde", median_ms(lambda: gaussian_kde(x, bw_method=h / x.std(ddof=1))(points), 1), 0.0))
    for rtol in (0, 1e-4) if n <= 100000 else (1e-4,):
        model = KernelDensity(bandwidth=h, rtol=rtol)
        f = np.exp(model.fit(x[:, None]).score_samples(points[:, None]))
        rows.append((f"sklearn KernelDensity rtol={rtol:g}",
                     median_ms(lambda: model.fit(x[:, None]).score_samples(points[:, None]), 1),
                     np.abs(f - exact).max() / exact.max()))
    for grid in (1024, 4096, 32768):
        t, f = FFTKDE(bw=h).fit(x).evaluate(grid)
        some = np.linspace(0, grid - 1, 257).astype(int)
        at = scipy_kde(t[some])
        error = np.abs(at - f[some]).max() / at.max()
        rows.append((f"KDEpy FFTKDE grid {grid}", median_ms(lambda: FFTKDE(bw=h).fit(x).evaluate(grid), 7), error))
    second = ours("kde_bench", *args)
    mine = {k: min(first[k], second[k]) if k.endswith("_ms") else first[k] for k in first}
    for key in ("direct", "sort_truncated", "binned_1e-04", "binned_3e-05", "binned_1e-06", "binned_1e-09"):
        print(f"  ours {key:29s} {mine[key + '_ms']:12.4g} ms   error {mine.get(key + '_error', 0):.2g}")
    for name, ms, error in rows:
        for key in ("binned_3e-05", "binned_1e-06"):
            line(f"{name} vs {key}", ms, mine[key + "_ms"], error)


def steps(n, is_sorted):
    rng = np.random.default_rng(2)
    y = np.repeat([0.0, 1.5, 4.0, 5.5], (n + 3) // 4)[:n] + rng.normal(0, 1 / 6, n)
    return np.sort(y) if is_sorted else y


def changepoint(n):
    y = steps(n, True)
    path = save("y", y)
    mine = ours("changepoint_bench", path)
    print("changepoints", json.dumps(mine))
    if n <= 2000:
        import functools

        import scipy.misc
        import scipy.special
        scipy.misc.comb, scipy.misc.logsumexp = scipy.special.comb, scipy.special.logsumexp  # where it looks
        import bayesian_changepoint_detection.offline_changepoint_detection as offcd
        begin = time.perf_counter()
        offcd.offline_changepoint_detection(y, functools.partial(offcd.const_prior, l=n + 1),
                                            offcd.gaussian_obs_log_likelihood, truncate=-40)
        ms = 1e3 * (time.perf_counter() - begin)
        again = ours("changepoint_bench", path)
        line("bayesian_changepoint_detection", ms, min(mine["log_q_ms"], again["log_q_ms"]))


def segmentation(n):
    import ruptures

    for is_sorted in (True, False):
        y = steps(n, is_sorted)
        path = save("y", y)
        mine = ours("changepoint_bench", path)
        penalty = 2.0 if is_sorted else 20.0
        key = "sorted_ms" if is_sorted else "pelt_ms"
        print(f"segmentation n = {n} sorted = {is_sorted}: ours {mine[key]:.4g} ms,",
              {k: v for k, v in mine.items() if "segments" in k or "squares" in k})
        found = []
        ms = median_ms(lambda: found.append(ruptures.KernelCPD("linear", min_size=1).fit(y[:, None]).predict(pen=penalty)), 1)
        print(f"  ruptures finds {len(found[-1])} segments")
        line("ruptures KernelCPD linear", ms, mine[key])


for size in sizes:
    {"kde": kde, "changepoint": changepoint, "segmentation": segmentation}[what](size)
