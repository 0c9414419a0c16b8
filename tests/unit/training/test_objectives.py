"""Values computed by hand, over a vocabulary of three tokens."""

import math

import pytest
import torch

from training.batches import IGNORED
from training.objectives import (
    Pass,
    Weights,
    cross_entropy,
    dss,
    finetune,
    mi,
    mutual_information_loss,
    reduced_log_distribution,
)

WEIGHTS = Weights(alpha=0.25, beta=0.1, reduction="max")


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


def test_cross_entropy_is_the_mean_over_unpadded_positions() -> None:
    expected = -(math.log(0.5) + math.log(0.75) + math.log(0.5)) / 3
    assert cross_entropy(predict_pass()).item() == pytest.approx(expected)


def test_cross_entropy_of_no_position_is_zero_and_has_a_gradient() -> None:
    empty = a_pass([[[0.5, 0.25, 0.25]]], [[IGNORED]])
    loss = cross_entropy(empty)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(empty.logits.grad, torch.zeros(1, 1, 3))


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("max", [[0.5 / 1.5, 0.75 / 1.5, 0.25 / 1.5], [0.25, 0.25, 0.5]]),
        ("mean", [[0.3125, 0.5, 0.1875], [0.25, 0.25, 0.5]]),
    ],
)
def test_reduction_leaves_padding_out_and_renormalises(
    reduction: str, expected: list[list[float]]
) -> None:
    reduced = reduced_log_distribution(predict_pass(), reduction).exp()
    torch.testing.assert_close(reduced, torch.tensor(expected))


def test_mutual_information_loss_is_the_formula() -> None:
    # by hand: P = (1/3, 1/2, 1/6) and (1/4, 1/4, 1/2); Q = (1/2, 3/8, 1/2)/(11/8), (1/4, 1/2, 1/4)
    first = -(math.log(4 / 11) / 3 + math.log(3 / 11) / 2 + math.log(4 / 11) / 6)
    second = -(math.log(0.25) / 4 + math.log(0.5) / 4 + math.log(0.25) / 2)
    loss = mutual_information_loss(predict_pass(), explain_pass(), "max")
    assert loss.item() == pytest.approx((first + second) / 2)


def test_mutual_information_teaches_the_explain_pass_alone() -> None:
    predict, explain = predict_pass(), explain_pass()
    mutual_information_loss(predict, explain, "mean").backward()
    assert predict.logits.grad is None
    assert explain.logits.grad.abs().sum() > 0
    assert torch.equal(explain.logits.grad[1, 1], torch.zeros(3))  # padding earns nothing


def test_a_row_without_a_rationale_counts_in_the_predict_pass_alone() -> None:
    predict, whole = predict_pass(), explain_pass()
    labels = whole.labels.clone()
    labels[1] = IGNORED
    partial = Pass(whole.logits, labels)
    one_row = mutual_information_loss(
        Pass(predict.logits[:1], predict.labels[:1]),
        Pass(whole.logits[:1], whole.labels[:1]),
        "max",
    )
    loss = mutual_information_loss(predict, partial, "max")
    assert loss.item() == pytest.approx(one_row.item())
    mi(predict, partial, WEIGHTS)["loss"].backward()
    assert torch.isfinite(partial.logits.grad).all()
    assert torch.equal(partial.logits.grad[1], torch.zeros(2, 3))


def test_the_objectives_weigh_their_terms() -> None:
    predict, explain = predict_pass(), explain_pass()
    label, rationale = cross_entropy(predict).item(), cross_entropy(explain).item()
    information = mutual_information_loss(predict, explain, "max").item()
    assert finetune(predict, explain, WEIGHTS)["loss"].item() == pytest.approx(label)
    both = 0.25 * label + 0.75 * rationale
    assert dss(predict, explain, WEIGHTS)["loss"].item() == pytest.approx(both)
    whole = mi(predict, explain, WEIGHTS)
    assert whole["loss"].item() == pytest.approx(both + 0.1 * information)
    assert whole["loss_predict"].item() == pytest.approx(label)
    assert whole["loss_explain"].item() == pytest.approx(rationale)
    assert whole["loss_mi"].item() == pytest.approx(information)
