import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from training.evaluation.significance import (
    bootstrap_interval,
    clustered,
    holm,
    sign_flip_test,
)


def test_values_are_summed_by_cluster() -> None:
    sums, counts = clustered([("b", 1), ("a", 0), ("b", -1), ("a", 1), ("c", 1)])
    assert sums.tolist() == [0, 1, 1]
    assert counts.tolist() == [2, 2, 1]


def share_of(right: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda times: (times @ right) / times.sum(1)


def test_the_interval_of_independent_rows_is_the_binomial_one() -> None:
    right = np.repeat([1.0, 0.0], [30, 70])
    low, high = bootstrap_interval(range(100), share_of(right))
    # percentiles of Binomial(100, 0.3) / 100, which the bootstrap draws from here
    assert low == pytest.approx(stats.binom.ppf(0.025, 100, 0.3) / 100, abs=0.011)
    assert high == pytest.approx(stats.binom.ppf(0.975, 100, 0.3) / 100, abs=0.011)


def test_rows_of_one_cluster_are_no_more_than_one() -> None:
    right = np.repeat([1.0, 0.0], [30, 70])
    thrice = bootstrap_interval([*range(100)] * 3, share_of(np.tile(right, 3)))
    assert thrice == bootstrap_interval(range(100), share_of(right))


def test_one_cluster_has_no_interval() -> None:
    assert bootstrap_interval("aaaa", share_of(np.ones(4))) == (None, None)
    assert bootstrap_interval([], lambda times: times.sum(1)) == (None, None)


def test_whole_clusters_are_drawn() -> None:
    def size_of_a(times: np.ndarray) -> np.ndarray:
        assert (times[:, 0] == times[:, 2]).all()
        assert (times[:, 0] + times[:, 1] == 2).all()
        return times[:, 0]

    assert bootstrap_interval("aba", size_of_a) == (0, 2)


def test_the_interval_of_any_statistic_is_scipys() -> None:
    values = np.random.default_rng(1).exponential(size=50)

    def deviation(times: np.ndarray) -> np.ndarray:
        mean = times @ values / 50
        return np.sqrt(times @ values**2 / 50 - mean**2)

    expected = stats.bootstrap(
        (values,), np.std, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert bootstrap_interval(range(50), deviation) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(("undefined", "exists"), [(0.02, True), (0.2, False)])
def test_draws_without_a_value(undefined: float, exists: bool) -> None:
    calls = np.random.default_rng(0)

    def sometimes(times: np.ndarray) -> np.ndarray:
        return np.where(calls.random(len(times)) < undefined, np.nan, times[:, 0])

    low, high = bootstrap_interval(range(20), sometimes)
    assert (low is not None, high is not None) == (exists, exists)


def test_many_rows_take_bounded_memory() -> None:
    right = np.repeat([1.0, 0.0], 5_000)
    tracemalloc.start()
    try:
        low, high = bootstrap_interval(range(10_000), share_of(right))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert low == pytest.approx(0.5 - 1.96 * 0.005, abs=0.0005)
    assert high == pytest.approx(0.5 + 1.96 * 0.005, abs=0.0005)
    assert peak < 100e6  # all draws at once would be 800e6


@pytest.mark.parametrize(
    ("sums", "p"),
    [
        ([1, 1, 1, -1], 10 / 16),  # 5 of the 16 ways sum to 2 or more, and 5 to -2 or less
        ([2, 1, 1], 2 / 8),  # all the same sign, one way or the other
        ([3, -1, 0, 0], 1.0),
        ([3, 1], 2 / 4),
        ([5], 1.0),
        ([0, 0], 1.0),
    ],
)
def test_sign_flips_by_hand(sums: list[float], p: float) -> None:
    assert sign_flip_test(np.array(sums, float)) == pytest.approx(p)


def test_sign_flips_of_single_rows_are_mcnemars_exact_test() -> None:
    sums = np.repeat([1.0, -1.0, 0.0], [9, 2, 80])
    assert sign_flip_test(sums) == pytest.approx(stats.binomtest(2, 11).pvalue)


def test_sign_flips_at_random_where_there_are_too_many() -> None:
    sums = np.repeat([1.0, -1.0], [26, 10])
    exact = stats.binomtest(10, 36).pvalue  # 0.011
    assert sign_flip_test(sums) == pytest.approx(exact, abs=0.004)  # 4 standard errors
    assert sign_flip_test(sums) == sign_flip_test(sums)
    assert sign_flip_test(np.ones(60)) == pytest.approx(2 / 10_000)  # never 0


def test_holm_by_hand() -> None:
    # sorted: 0.01 · 4, 0.02 · 3, 0.03 · 2, 0.04 · 1, none below the one before
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.001]) == pytest.approx([0.5, 0.002])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []
