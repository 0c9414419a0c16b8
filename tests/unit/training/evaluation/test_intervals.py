"""Intervals of shares and of their differences, beside published ones and drawn ones."""

import numpy as np
import pytest
from scipy import stats

from training.evaluation.intervals import difference_interval, share_interval, tango, wilson


@pytest.mark.parametrize(
    ("count", "rows", "low", "high"),  # Newcombe, 1998, Stat. Med. 17:857, table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_published_intervals(count: int, rows: int, low: float, high: float) -> None:
    assert wilson(count / rows, rows) == pytest.approx((low, high), abs=5e-5)
    assert wilson(1 - count / rows, rows) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_tangos_published_interval() -> None:
    # airway hyper-responsiveness: Fagerland, Lydersen and Laake, 2014, Stat. Med. 33:2850
    assert tango(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize("rows", [1, 2, 40])
def test_tangos_interval_at_the_extremes(rows: int) -> None:
    widest = wilson(0, rows)[1]
    assert tango(0, 0, rows) == pytest.approx((-widest, widest))
    low, high = tango(rows, 0, rows)
    assert high == 1
    assert -1 < low < 1
    assert tango(0, rows, rows) == (-high, pytest.approx(-low))


@pytest.mark.parametrize("right", [0, 1, 7, 39, 40])
def test_independent_rows_have_scipys_interval(right: int) -> None:
    flags = [1] * right + [0] * (40 - right)
    expected = stats.binomtest(right, 40).proportion_ci(method="wilson")
    low, high = share_interval(flags, range(40))
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low < high <= 1


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 1])
def test_copies_of_a_row_are_worth_one(share: float) -> None:
    flags = np.arange(60) < 60 * share
    thrice = share_interval(np.repeat(flags, 3), np.repeat(np.arange(60), 3))
    assert thrice == pytest.approx(share_interval(flags, range(60)))
    differences = flags.astype(float) - flags[::-1]
    thrice = difference_interval(np.repeat(differences, 3), np.repeat(np.arange(60), 3))
    assert thrice == pytest.approx(difference_interval(differences, range(60)))


def test_one_wrong_row_tells_little_of_the_clusters() -> None:
    """Of 300 rows in 100 clusters. Alone, it would make the 300 rows seem independent: 98.1 %."""
    clusters = np.repeat(np.arange(100), 3)
    none, one = (share_interval(np.arange(300) >= wrong, clusters)[0] for wrong in (0, 1))
    assert none == pytest.approx(wilson(1, 100)[0])
    assert one == pytest.approx(none, abs=0.004)


def test_one_cluster_is_worth_one_row() -> None:
    assert share_interval([1] * 5, "aaaaa") == pytest.approx(wilson(1, 1))
    assert difference_interval([0] * 5, "aaaaa") == pytest.approx(tango(0, 0, 1))


@pytest.mark.parametrize("alike", [0, 0.5, 1])  # the correlation of a cluster's rows
@pytest.mark.parametrize("share", [0.6, 0.97])
def test_95_of_100_intervals_hold(share: float, alike: float) -> None:
    """Of 50 clusters of one to five rows. The bootstrap's hold in 60 of 100 at 97 %."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        clusters = np.repeat(np.arange(50), rng.integers(1, 6, 50))
        common = rng.random(50)[clusters]
        draws = np.where(rng.random(len(clusters)) < alike**0.5, common, rng.random(len(clusters)))
        low, high = share_interval(draws < share, clusters)
        held.append(low <= share <= high)
    assert np.mean(held) >= 0.92


@pytest.mark.parametrize(("first", "second"), [(0.97, 0.97), (1, 0.95), (0.6, 0.5)])
def test_95_of_100_intervals_of_differences_hold(first: float, second: float) -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 3)
    held = []
    for _ in range(200):
        flags = [rng.random(120) < share for share in (first, second)]
        low, high = difference_interval(flags[0].astype(float) - flags[1], clusters)
        held.append(low <= first - second <= high)
    assert np.mean(held) >= 0.92
