"""The temperature of the confidence, fitted on validation rows.

For closed labels this is the temperature of Guo et al., 2017. The confidence of an open label is
the probability of one decoded sequence among endlessly many, so it gets an offset too (Platt,
1999). Without an offset, a confidence near 1 would stay there, however often such rows are wrong.

The temperature is kept beside the student in `calibration.json`. Export writes it into the bundle.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logsumexp

from tasks.calibration import Calibration
from training.evaluation.calibration import (
    MeasuredCalibration,
    confidence_and_right,
    gold_probability,
    measure_calibration,
    nll,
)
from training.evaluation.record import Record
from training.evaluation.significance import Array

LOWEST, HIGHEST = 0.05, 20.0  # temperatures: outside, the rows do not determine a best one
FARTHEST = 20.0  # largest offset
TINY = float(np.finfo(float).tiny)  # a probability that underflowed


@dataclass(frozen=True)
class Temperature:
    """A temperature, and the measured calibration of its rows `before` and `after`.

    Temperature and offset are applied after the temperature that the records were made with. If
    the rows have no best temperature, `problem` says why, and the temperature is 1.
    """

    temperature: float
    offset: float | None  # of open labels
    rows: int
    problem: str | None
    before: MeasuredCalibration | None
    after: MeasuredCalibration | None

    def calibration(self, fitted_on: str) -> Calibration | None:
        """The calibration for a bundle, or None with a problem. `fitted_on` names the rows."""
        if self.problem is not None:
            return None
        return Calibration(temperature=self.temperature, offset=self.offset, fitted_on=fitted_on)


def fit_temperature(validation: Sequence[Record]) -> Temperature:
    """The temperature with the least negative log-likelihood on validation records.

    The likelihood is of the gold label where labels are closed, else of being right. Raises
    ValueError where a closed label set lacks the gold label.
    """
    before = measure_calibration(validation)
    if before is None:
        return Temperature(1.0, None, 0, "there are no validation rows", None, None)
    temperature, offset, problem = _best(validation)
    after = measure_calibration(tempered(validation, temperature, offset))
    return Temperature(temperature, offset, len(validation), problem, before, after)


def _best(records: Sequence[Record]) -> tuple[float, float | None, str | None]:
    right = sum(record.right for record in records)
    if right in (0, len(records)):  # the likelihood would only rise, towards 0 or infinity
        problem = f"{right} of {len(records)} validation rows are right: a fit needs both kinds"
        return 1.0, None, problem
    is_closed = all(record.probabilities is not None for record in records)
    fit = _best_of_closed if is_closed else _best_of_open
    temperature, offset, is_better = fit(records)
    if not is_better:
        problem = f"none makes the confidence on {len(records)} validation rows better"
        return 1.0, None, problem
    if is_closed and not 1.001 * LOWEST < temperature < HIGHEST / 1.001:
        problem = (
            f"the best temperature of {len(records)} validation rows, {right} of them right, is "
            f"not between {LOWEST:g} and {HIGHEST:g}"
        )
        return 1.0, None, problem
    return temperature, offset, None


def tempered(
    records: Sequence[Record], temperature: float, offset: float | None = None
) -> list[Record]:
    """The records as a service with this calibration would give them. No label changes.

    For closed labels, the log-probabilities are divided by the temperature, and the softmax of that
    is taken. For open labels, the log-probability of the decoded sequence is divided by it, and the
    offset is added: this is the log-odds of being right.
    """
    if temperature == 1 and offset is None:
        return list(records)
    return [_tempered(record, temperature, offset) for record in records]


def _tempered(record: Record, temperature: float, offset: float | None) -> Record:
    if record.probabilities is None:
        if offset is None:
            return replace(record, confidence=record.confidence ** (1 / temperature))
        logprob = math.log(max(record.confidence, TINY))
        return replace(record, confidence=float(expit(logprob / temperature + offset)))
    logs = np.log(np.maximum([*record.probabilities.values()], TINY)) / temperature
    values = np.exp(logs - logsumexp(logs)).tolist()
    probabilities = dict(zip(record.probabilities, values, strict=True))
    return replace(record, confidence=probabilities[record.label], probabilities=probabilities)


def _best_of_open(records: Sequence[Record]) -> tuple[float, float, bool]:
    """The temperature and offset, and whether they are better than none.

    The targets are Platt's: a little below 1 for right rows, and above 0 for wrong ones. So there
    is a best temperature even where the confidence separates right rows from wrong ones.
    """
    confidence, right = confidence_and_right(records)
    logs = np.log(np.maximum(confidence, TINY))
    rights, wrongs = right.sum(), (1 - right).sum()
    aims = np.where(right, (rights + 1) / (rights + 2), 1 / (wrongs + 2))

    def scores_of(parameters: Array) -> Array:
        log_temperature, offset = parameters
        scores: Array = logs / math.exp(log_temperature) + offset
        return scores

    def loss(parameters: Array) -> float:
        scores = scores_of(parameters)
        return float(
            (aims * np.logaddexp(0, -scores) + (1 - aims) * np.logaddexp(0, scores)).mean()
        )

    found = minimize(
        loss,
        (0.0, 0.0),
        method="L-BFGS-B",
        bounds=[(math.log(LOWEST), math.log(HIGHEST)), (-FARTHEST, FARTHEST)],
        options={"ftol": 1e-12, "gtol": 1e-8},
    )
    log_temperature, offset = map(float, found.x)
    after = nll(expit(scores_of(found.x)), right).mean()
    return math.exp(log_temperature), offset, bool(after < nll(confidence, right).mean())


def _best_of_closed(records: Sequence[Record]) -> tuple[float, None, bool]:
    """The temperature, no offset, and whether the temperature is better than 1."""
    rows = [record.probabilities or {} for record in records]
    # label sets may differ in size; a missing label is impossible
    logs = np.full((len(rows), max(map(len, rows))), -np.inf)
    for number, row in enumerate(rows):
        logs[number, : len(row)] = np.log(np.maximum([*row.values()], TINY))
    gold = np.log(np.maximum([gold_probability(record) for record in records], TINY))

    def loss(temperature: float) -> float:
        return float((logsumexp(logs / temperature, axis=1) - gold / temperature).mean())

    found = minimize_scalar(
        lambda log_temperature: loss(math.exp(log_temperature)),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    temperature = math.exp(found.x)
    return temperature, None, loss(temperature) < loss(1.0)
