"""Confidence: turns log-probabilities into calibrated probabilities that a label is right."""

import math
from collections.abc import Sequence

import numpy as np

from tasks.calibration import Calibration


def rank(logprobs: Sequence[float], temperature: float) -> tuple[list[int], list[float]]:
    """The indices of the labels, the most probable first, and the probability of each label.

    `logprobs` are in nats, one per label. The probabilities are in the same order: the softmax of
    `logprobs / temperature` (Guo et al., 2017). Equally probable labels keep their order.
    """
    values = np.array(logprobs)
    weights = np.exp((values - values.max()) / temperature)
    return np.argsort(-values, kind="stable").tolist(), (weights / weights.sum()).tolist()


def confidence_of(logprob: float, calibration: Calibration) -> float:
    """The probability that a text is right. `logprob` (nats) is that of all its tokens together.

    Without an offset: exp(logprob / temperature) (Guo et al., 2017). With an offset: the logistic
    function of logprob / temperature + offset (Platt, 1999).
    """
    score = logprob / calibration.temperature
    if calibration.offset is None:
        return math.exp(score)
    score += calibration.offset
    return math.exp(min(score, 0.0)) / (1 + math.exp(-abs(score)))
