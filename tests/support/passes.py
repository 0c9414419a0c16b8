"""Two passes over a vocabulary of three tokens. Their losses can be computed by hand."""

import math

import torch

from training.objectives import OBJECTIVES, Options
from training.student.passes import IGNORED, Pass, WholeBatch

OPTIONS = Options(alpha=0.25, beta=0.1, detach="predict")
LOG2 = math.log(2)


def a_pass(probabilities: list[list[list[float]]], labels: list[list[int]]) -> Pass:
    logits = torch.tensor(probabilities, dtype=torch.float64).log()
    return Pass(logits.requires_grad_(), torch.tensor(labels))


def predict_pass() -> Pass:
    """Row 0 has two positions; row 1 has one, then padding with a distribution of its own."""
    return a_pass(
        [
            [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]],
            [[0.25, 0.25, 0.5], [0.98, 0.01, 0.01]],
        ],
        [[0, 1], [2, IGNORED]],
    )


def explain_pass() -> Pass:
    return a_pass(
        [
            [[0.5, 0.375, 0.125], [0.25, 0.25, 0.5]],
            [[0.25, 0.5, 0.25], [0.01, 0.01, 0.98]],
        ],
        [[0, 2], [1, IGNORED]],
    )


# Reduced over the target positions, by hand:
# max:  P = (1/3, 1/2, 1/6) and (1/4, 1/4, 1/2); Q = (4/11, 3/11, 4/11) and (1/4, 1/2, 1/4)
# mean: P = (5/16, 8/16, 3/16) and the same;     Q = (6/16, 5/16, 5/16) and the same


def losses(name: str, predict: Pass, explain: Pass, options: Options = OPTIONS) -> dict:
    return OBJECTIVES[name](predict, explain, options, WholeBatch.of(predict, explain))
