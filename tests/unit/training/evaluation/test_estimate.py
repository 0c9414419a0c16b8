"""Figures with their intervals: which interval belongs to which kind of values."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from tests.support.prediction_records import open_records
from training.evaluation.estimate import estimate, gap_estimate, mean_estimate
from training.evaluation.intervals import tango, wilson
from training.evaluation.record import Record


def drawn(rows: int, sure: float = 0.1) -> list[Record]:
    """Records whose confidence is `sure` higher than it should be."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.4, 0.9, rows)
    return open_records(confidence, rng.random(rows) < confidence - sure)


def test_the_kind_of_a_value_decides_its_interval() -> None:
    records = open_records([0.5] * 20, [1] * 20)
    all_true, none_true = [True] * 20, [False] * 20
    assert astuple(mean_estimate(records, all_true)) == pytest.approx((1, *wilson(1, 20)))
    assert astuple(mean_estimate(records, none_true)) == pytest.approx((0, *wilson(0, 20)))
    equal = np.zeros(20)
    assert astuple(mean_estimate(records, equal)) == pytest.approx((0, *tango(0, 0, 20)))
    better = np.repeat([1.0, 0.0], [4, 16])
    assert astuple(mean_estimate(records, better)) == pytest.approx((0.2, *tango(4, 0, 20)))
    costs = np.linspace(0, 0.5, 20)
    assert mean_estimate(records, costs) == estimate(
        records, lambda weights: weights @ costs / weights.sum(1)
    )


@pytest.mark.parametrize("copies", [1, 3])
def test_a_gap_has_the_bootstraps_interval_where_that_holds(copies: int) -> None:
    records = [replace(one, cluster=str(one.index)) for one in drawn(400)] * copies
    confidence = np.array([record.confidence for record in records])
    right = [record.right for record in records]
    gaps = confidence - right
    drawn_gaps = estimate(records, lambda weights: weights @ gaps / weights.sum(1))
    found = gap_estimate(records, confidence, right)
    assert astuple(found) == pytest.approx(astuple(drawn_gaps), abs=0.003)
    assert found.low is not None
    assert found.low > 0.03  # so it is seen that the confidence is too high


def test_the_gap_of_a_model_that_is_always_right_is_open_to_its_errors() -> None:
    confidence = np.linspace(0.98, 1, 50)
    found = gap_estimate(open_records(confidence, [1] * 50), confidence, [True] * 50)
    assert found.value == pytest.approx(-0.01)
    assert found.low == pytest.approx(-0.0117, abs=5e-4)  # its confidence varies little
    assert found.high == pytest.approx(-0.01 + 1 - wilson(1, 50)[0], abs=1e-3)


def test_nothing_and_a_single_row() -> None:
    assert astuple(mean_estimate([], [])) == (None, None, None)
    assert astuple(gap_estimate([], [], [])) == (None, None, None)
    found = gap_estimate(open_records([0.9], [1]), [0.9], [True])
    assert (found.value, found.low) == (pytest.approx(-0.1), None)
