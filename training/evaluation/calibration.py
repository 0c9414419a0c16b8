"""Calibration: how far a model's confidence is from its accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation.record import Record
from training.evaluation.selective import Selective, measure_selective
from training.evaluation.significance import Array

BINS = 15  # as in Guo et al., 2017
MOST_SWEPT = 1000  # bins: reached only if the confidence separates right rows from wrong ones
SMALLEST = float(np.finfo(float).eps)  # in a logarithm, so that a row costs at most 36 nats

Bins = NDArray[np.int64]  # [N], the number of each row's bin


@dataclass(frozen=True)
class Bin:
    """A bin of a reliability diagram: rows with a confidence above `low` and up to `high`.

    The lowest bin includes `low`.
    """

    low: float
    high: float
    rows: int
    confidence: float  # mean
    accuracy: float


@dataclass(frozen=True)
class Probabilities:
    """How far the probabilities of closed labels are from the gold labels.

    `brier` is Brier's own score (1950): squared errors, summed over the labels, from 0 to 2. `nll`
    is the negative log-likelihood of the gold label, in nats. `ace` is the adaptive calibration
    error (Nixon et al., 2019), over all labels and 15 bins of equally many rows. It is None where
    rows have different label sets.
    """

    brier: float
    nll: float
    ace: float | None


@dataclass(frozen=True)
class MeasuredCalibration:
    """How far the confidence is from the share of rows that are right.

    `ece` and `ece_equal_mass` are the expected calibration error (Guo et al., 2017), with 15 bins
    of equal width, and with 15 bins of equally many rows (AdaECE of Mukhoti et al., 2020).
    `ece_sweep` takes as many bins of equally many rows as possible, while their accuracies rise. It
    is less biased on few rows (Roelofs et al., 2022). `brier` and `nll` (nats) take the confidence
    as the probability of being right. Bins without rows are left out.
    """

    rows: int
    accuracy: float
    confidence: float  # mean
    ece: float
    ece_equal_mass: float
    ece_sweep: float
    brier: float
    nll: float
    probabilities: Probabilities | None  # None where labels are open
    selective: Selective
    bins: list[Bin]
    bins_equal_mass: list[Bin]


def measure_calibration(records: Sequence[Record]) -> MeasuredCalibration | None:
    """Measures N records; None where there are none.

    Raises ValueError where a row's gold label is not among its probabilities.
    """
    if not records:
        return None
    confidence, right = confidence_and_right(records)
    every = np.ones((1, len(records)))
    mass = equal_mass(confidence)
    return MeasuredCalibration(
        rows=len(records),
        accuracy=float(right.mean()),
        confidence=float(confidence.mean()),
        ece=float(ece(confidence, right, equal_width(confidence), every)[0]),
        ece_equal_mass=float(ece(confidence, right, mass, every)[0]),
        ece_sweep=ece_sweep(confidence, right),
        brier=float(brier(confidence, right).mean()),
        nll=float(nll(confidence, right).mean()),
        probabilities=_measure_probabilities(records),
        selective=measure_selective(confidence, right),
        bins=_diagram(confidence, right, equal_width(confidence), np.linspace(0, 1, BINS + 1)),
        bins_equal_mass=_diagram(confidence, right, mass, _mass_bounds(confidence, BINS)),
    )


def confidence_and_right(records: Sequence[Record]) -> tuple[Array, Array]:
    """The confidence [N] of N records, and whether each is right, as 1 or 0 [N]."""
    return (
        np.array([record.confidence for record in records], float),
        np.array([record.right for record in records], float),
    )


def equal_width(confidence: Array, bins: int = BINS) -> Bins:
    """The bin [N] of each row, for bins of equal width. A bound belongs to the bin below it."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)


def equal_mass(confidence: Array, bins: int = BINS) -> Bins:
    """The bin [N] of each row, for bins of equally many rows.

    Rows of equal confidence share a bin, so the bins may differ in size.
    """
    return np.searchsorted(_mass_bounds(confidence, bins)[1:-1], confidence)


def _mass_bounds(confidence: Array, bins: int) -> Array:
    return _quantiles(np.sort(confidence), bins)


def _quantiles(values: Array, parts: int) -> Array:
    """The bounds [parts + 1] that cut sorted values [N] into parts of equally many."""
    places = np.linspace(0, len(values) - 1, parts + 1)
    return np.interp(places, np.arange(len(values)), values)


def ece(confidence: Array, right: Array, bins: Bins, weights: Array) -> Array:
    """Expected calibration errors [R] of rows [N] with weights [R, N]: Σ_b n_b/n |acc_b − conf_b|.

    Guo et al., 2017, On calibration of modern neural networks.
    """
    gaps = np.zeros((len(bins), bins.max(initial=0) + 1))  # [N, bins]
    gaps[np.arange(len(bins)), bins] = right - confidence
    return np.abs(weights @ gaps).sum(1) / weights.sum(1)


def ece_sweep(confidence: Array, right: Array) -> float:
    """The expected calibration error with the most bins of equally many rows whose accuracies rise.

    Roelofs et al., 2022, Mitigating bias in calibration error estimation, algorithm 1, but for the
    bound of MOST_SWEPT bins.
    """
    order = np.argsort(confidence)
    confidence = confidence[order]
    right_by_then = np.concatenate([[0], np.cumsum(right[order])])
    gap_by_then = right_by_then - np.concatenate([[0], np.cumsum(confidence)])
    error = abs(gap_by_then[-1])
    for bins in range(2, min(len(confidence), MOST_SWEPT) + 1):
        bounds = _quantiles(confidence, bins)[1:-1]
        inner = np.searchsorted(confidence, bounds, side="right")
        ends = np.unique(np.concatenate([[0], inner, [len(confidence)]]))
        if (np.diff(np.diff(right_by_then[ends]) / np.diff(ends)) < 0).any():
            break
        error = np.abs(np.diff(gap_by_then[ends])).sum()
    return float(error / len(confidence))


def brier(confidence: Array, right: Array) -> Array:
    """Squared errors [N] of the confidence as the probability of being right (Brier, 1950)."""
    return (confidence - right) ** 2


def nll(confidence: Array, right: Array) -> Array:
    """Negative log-likelihoods [N] of being right, in nats."""
    return -np.log(np.maximum(np.where(right, confidence, 1 - confidence), SMALLEST))


def _measure_probabilities(records: Sequence[Record]) -> Probabilities | None:
    rows = [record.probabilities for record in records]
    squares, logs = [], []
    for record, row in zip(records, rows, strict=True):
        if row is None:
            return None
        gold = gold_probability(record)
        squares.append(sum(p**2 for p in row.values()) - 2 * gold + 1)
        logs.append(-np.log(max(gold, SMALLEST)))
    labels = list(rows[0] or ())
    ace = None
    if all(row is not None and row.keys() == set(labels) for row in rows):
        table = np.array([[row[label] for label in labels] for row in rows if row is not None])
        is_gold = np.array([[record.gold == label for label in labels] for record in records])
        ace = float(np.mean([_ace(*pair) for pair in zip(table.T, is_gold.T, strict=True)]))
    return Probabilities(float(np.mean(squares)), float(np.mean(logs)), ace)


def gold_probability(record: Record) -> float:
    """The probability of the gold label. Raises ValueError where it has none."""
    assert record.probabilities is not None
    if record.gold not in record.probabilities:
        some = ", ".join([*record.probabilities][:20])
        raise ValueError(f"row {record.index}: the label {record.gold!r} is not one of {some}")
    return record.probabilities[record.gold]


def _ace(probability: Array, is_gold: Array) -> float:
    """The mean gap of one label's bins. Each bin has the same weight."""
    diagram = _diagram(
        probability, is_gold, equal_mass(probability), _mass_bounds(probability, BINS)
    )
    return float(np.mean([abs(part.accuracy - part.confidence) for part in diagram]))


def _diagram(confidence: Array, right: Array, bins: Bins, bounds: Array) -> list[Bin]:
    return [
        Bin(
            low=float(bounds[number]),
            high=float(bounds[number + 1]),
            rows=int((bins == number).sum()),
            confidence=float(confidence[bins == number].mean()),
            accuracy=float(right[bins == number].mean()),
        )
        for number in np.unique(bins)
    ]
