"""Confidence: from log-probabilities to the calibrated probability that a label is right."""

import math
from collections.abc import Sequence

import numpy as np

from tasks.calibration import Calibration


def rank(logprobs: Sequence[float], temperature: float) -> tuple[list[int], list[float]]:
    """The labels from the most probable to the least, and the probability of each label.

    Probabilities are the softmax of the log-probabilities (nats) over the temperature (Guo et al.,
    2017). Labels that are equally probable stay in their order.
    """
    values = np.array(logprobs)
    weights = np.exp((values - values.max()) / temperature)
    return np.argsort(-values, kind="stable").tolist(), (weights / weights.sum()).tolist()


def confidence_of(logprob: float, calibration: Calibration) -> float:
    """How likely a text is to be right, from the log-probability (nats) of all of its tokens.

    Tempered (Guo et al., 2017), or where there is an offset its logistic function (Platt, 1999).
    """
    score = logprob / calibration.temperature
    if calibration.offset is None:
        return math.exp(score)
    score += calibration.offset
    return math.exp(min(score, 0.0)) / (1 + math.exp(-abs(score)))
