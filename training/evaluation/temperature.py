"""The temperature of a confidence, fitted on rows that were neither learnt nor are tested on.

`calibration.json`, beside the student, carries it to export, which writes it into the bundle.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from training.evaluation.calibration import (
    Calibration,
    confidence_and_right,
    gold_probability,
    measure_calibration,
    nll,
)
from training.evaluation.record import Record

FILE = "calibration.json"
LOWEST, HIGHEST = 0.05, 20.0  # temperatures: beyond them the rows say nothing of a best one
TINY = float(np.finfo(float).tiny)  # a probability that underflowed


@dataclass(frozen=True)
class Temperature:
    """A temperature, and the calibration of the rows it was fitted on without and with it.

    It comes on top of the temperature that the records were made at. Where the rows have no best
    temperature, `problem` says why, and the temperature is 1.
    """

    temperature: float
    rows: int
    problem: str | None
    before: Calibration | None
    after: Calibration | None


def fit_temperature(validation: Sequence[Record]) -> Temperature:
    """Fits on validation records, never on test ones, by the negative log-likelihood.

    That of the gold label where labels are closed (Guo et al., 2017), else that of being right.
    Raises ValueError where a closed label set lacks the gold label.
    """
    before = measure_calibration(validation)
    if before is None:
        return Temperature(1.0, 0, "there are no validation rows", None, None)
    temperature, problem = _best(validation)
    after = measure_calibration(tempered(validation, temperature))
    return Temperature(temperature, len(validation), problem, before, after)


def _best(records: Sequence[Record]) -> tuple[float, str | None]:
    right = sum(record.right for record in records)
    if right in (0, len(records)):  # the likelihood would only rise, towards 0 or infinity
        return 1.0, f"{right} of {len(records)} validation rows are right: a fit needs both kinds"
    loss = _loss(records)
    found = minimize_scalar(
        lambda log_temperature: loss(math.exp(log_temperature)),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    temperature = math.exp(found.x)
    if loss(temperature) >= loss(1.0):
        return 1.0, None
    if not 1.001 * LOWEST < temperature < HIGHEST / 1.001:
        return 1.0, (
            f"the best temperature of {len(records)} validation rows, {right} of them right, is "
            f"not between {LOWEST:g} and {HIGHEST:g}"
        )
    return temperature, None


def tempered(records: Sequence[Record], temperature: float) -> list[Record]:
    """The records as a service with this temperature gives them. No label changes.

    The log-probabilities of closed labels are divided by it and take the softmax; else the
    log-probability of the decoded sequence is divided by it.
    """
    if temperature == 1:
        return list(records)
    return [_tempered(record, temperature) for record in records]


def write_calibration(folder: Path, fitted: Temperature, fitted_on: str) -> None:
    """Leaves a temperature with the student in `folder`, for export; none where there is a problem.

    `fitted_on` says which rows it was fitted on.
    """
    path = folder / FILE
    if fitted.problem is not None:
        path.unlink(missing_ok=True)
        return
    content = {"temperature": fitted.temperature, "fitted_on": fitted_on}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _tempered(record: Record, temperature: float) -> Record:
    if record.probabilities is None:
        return replace(record, confidence=record.confidence ** (1 / temperature))
    logs = np.log(np.maximum([*record.probabilities.values()], TINY)) / temperature
    values = np.exp(logs - logsumexp(logs)).tolist()
    probabilities = dict(zip(record.probabilities, values, strict=True))
    return replace(record, confidence=probabilities[record.label], probabilities=probabilities)


def _loss(records: Sequence[Record]) -> Callable[[float], float]:
    """The mean negative log-likelihood of records, by the temperature."""
    rows = [record.probabilities for record in records]
    if any(row is None for row in rows):
        confidence, right = confidence_and_right(records)
        return lambda temperature: float(nll(confidence ** (1 / temperature), right).mean())
    # label sets may differ in size, and what is missing of one is impossible
    logs = np.full((len(rows), max(len(row or ()) for row in rows)), -np.inf)
    for number, row in enumerate(rows):
        logs[number, : len(row or ())] = np.log(np.maximum([*(row or {}).values()], TINY))
    gold = np.log(np.maximum([gold_probability(record) for record in records], TINY))

    def loss(temperature: float) -> float:
        return float((logsumexp(logs / temperature, axis=1) - gold / temperature).mean())

    return loss
