"""Whether a difference on few test rows is more than chance: interval, test, correction.

A *cluster* is a set of rows that are not independent: the answers of all seeds' students to one
test problem, or variants of one problem. Whole clusters are drawn. So a result holds for these
students on other problems of the same kind. It does not cover students with other seeds.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 9999
BATCH = 2**20  # rows that are drawn at once, to bound the memory
Array = NDArray[np.float64]
Interval = tuple[float, float] | tuple[None, None]


def clustered(values: Iterable[tuple[str, float]]) -> tuple[Array, Array]:
    """Sums [C] and counts [C] of values by their cluster's name, in order of appearance."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for cluster, value in values:
        sums[cluster] = sums.get(cluster, 0.0) + value
        counts[cluster] = counts.get(cluster, 0) + 1
    return np.array(list(sums.values()), float), np.array(list(counts.values()), float)


def bootstrap_interval(
    clusters: Sequence[Hashable], statistic: Callable[[Array], Array]
) -> Interval:
    """The 95 % interval of a statistic of N rows, by draws of whole clusters.

    The percentile bootstrap (Efron and Tibshirani, 1993, ch. 13). Of differences, it is the paired
    bootstrap (Koehn, 2004). For shares, which may be 0 or 1, see `intervals`. `clusters` [N] says
    each row's cluster. `statistic` takes how often each row was drawn, [R, N], and returns R
    values, NaN where it has none. Both bounds are None with fewer than two clusters, or if more
    than 5 % of the draws give no value.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    rows = np.array([names[name] for name in clusters], int)
    if len(names) < 2:
        return None, None
    rng = np.random.default_rng(0)
    batch = max(1, BATCH // len(rows))
    parts = []
    for start in range(0, RESAMPLES, batch):
        draws = min(batch, RESAMPLES - start)
        picks = rng.integers(0, len(names), (draws, len(names)), np.int32)
        picks += len(names) * np.arange(draws, dtype=np.int32)[:, None]  # each draw counts apart
        times = np.bincount(picks.ravel(), minlength=picks.size).reshape(picks.shape).astype(float)
        parts.append(statistic(times if len(names) == len(rows) else times[:, rows]))
    values = np.concatenate(parts)
    values = values[~np.isnan(values)]
    if len(values) < 0.95 * RESAMPLES:
        return None, None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def sign_flip_test(sums: Array) -> float:
    """The two-sided p-value of differences, summed by cluster [C], around 0.

    If two ways to distil were alike, each cluster's sum could also have the other sign (Fisher's
    paired randomisation test; Noreen, 1989). If there are at most RESAMPLES ways to set the signs,
    all are tried. Otherwise RESAMPLES random ones are tried, with p = (b + 1) / (n + 1), which is
    never 0 (Phipson and Smyth, 2010). With one seed and clusters of one row this is McNemar's exact
    test.
    """
    sums = sums[sums != 0]  # a zero changes only the number of ways
    if len(sums) < 2:
        return 1.0
    found = stats.permutation_test(
        (sums,),
        lambda sums, axis: sums.sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // len(sums)),
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for the number of tests, in the order given.

    At most 5 % of such families of tests have a false finding below 0.05 (Holm, 1979, A simple
    sequentially rejective multiple test procedure).
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted.tolist()
