"""Values computed by hand, over a vocabulary of three tokens."""

import math

import pytest
import torch
import torch.nn as nn

from tests.support.passes import LOG2, OPTIONS, a_pass, explain_pass, losses, predict_pass
from training.objectives import (
    OBJECTIVES,
    Options,
    alpha_by_entropy,
    cross_entropy,
    mutual_information_loss,
    official_mutual_information_loss,
    reduced_log_distribution,
    symmetric_kl_loss,
)
from training.student.passes import IGNORED, Pairs, Pass, WholeBatch


def test_cross_entropy_is_over_the_target_positions() -> None:
    expected = -(math.log(0.5) + math.log(0.75) + math.log(0.5)) / 3
    assert cross_entropy(predict_pass(), 3).item() == pytest.approx(expected)


def test_cross_entropy_of_no_position_is_zero_and_has_a_gradient() -> None:
    empty = a_pass([[[0.5, 0.25, 0.25]]], [[IGNORED]])
    loss = cross_entropy(empty, WholeBatch.of(empty, empty).label_tokens)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(empty.logits.grad, torch.zeros(1, 1, 3))


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("max", [[1 / 3, 1 / 2, 1 / 6], [1 / 4, 1 / 4, 1 / 2]]),
        ("mean", [[5 / 16, 8 / 16, 3 / 16], [1 / 4, 1 / 4, 1 / 2]]),
    ],
)
def test_reduction_leaves_padding_out_and_renormalises(
    reduction: str, expected: list[list[float]]
) -> None:
    reduced = reduced_log_distribution(predict_pass(), reduction).exp()
    torch.testing.assert_close(reduced, torch.tensor(expected))


@pytest.mark.parametrize(
    ("reduction", "detach", "first", "second"),
    [
        # −Σ P log Q
        (
            "max",
            "predict",
            -(math.log(4 / 11) / 3 + math.log(3 / 11) / 2 + math.log(4 / 11) / 6),
            7 / 4 * LOG2,
        ),
        (
            "mean",
            "none",
            -(5 * math.log(6 / 16) + 8 * math.log(5 / 16) + 3 * math.log(5 / 16)) / 16,
            7 / 4 * LOG2,
        ),
        # −Σ Q log P
        (
            "max",
            "explain",
            -(4 * math.log(1 / 3) + 3 * math.log(1 / 2) + 4 * math.log(1 / 6)) / 11,
            7 / 4 * LOG2,
        ),
    ],
)
def test_mutual_information_loss(reduction: str, detach: str, first: float, second: float) -> None:
    loss = mutual_information_loss(predict_pass(), explain_pass(), reduction, detach, rows=2)
    assert loss.item() == pytest.approx((first + second) / 2)


@pytest.mark.parametrize(
    ("reduction", "first"),
    [
        (
            "max",
            (1 / 3 - 4 / 11) * math.log(11 / 12)
            + (1 / 2 - 3 / 11) * math.log(11 / 6)
            + (1 / 6 - 4 / 11) * math.log(11 / 24),
        ),
        ("mean", (-math.log(5 / 6) + 3 * math.log(8 / 5) - 2 * math.log(3 / 5)) / 16),
    ],
)
def test_symmetric_kl_loss(reduction: str, first: float) -> None:
    second = LOG2 / 2  # (1/4 − 1/2) log(1/2) + (1/2 − 1/4) log 2
    loss = symmetric_kl_loss(predict_pass(), explain_pass(), reduction, "none", rows=2)
    assert loss.item() == pytest.approx((first / 2 + second / 2) / 2)


def test_official_loss_counts_padding_and_takes_probabilities_for_logits() -> None:
    # by hand: maxima of P are (0.5, 0.75, 0.25) and (0.98, 0.25, 0.5), those of Q
    # (0.5, 0.375, 0.5) and (0.25, 0.5, 0.98)
    first = 1.5 * math.log(2 * math.exp(0.5) + math.exp(0.375)) - (
        0.5 * 0.5 + 0.75 * 0.375 + 0.25 * 0.5
    )
    second = 1.73 * math.log(math.exp(0.25) + math.exp(0.5) + math.exp(0.98)) - (
        0.98 * 0.25 + 0.25 * 0.5 + 0.5 * 0.98
    )
    loss = official_mutual_information_loss(predict_pass(), explain_pass(), rows=2)
    assert loss.item() == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("seed", range(4))
def test_mi_official_is_the_published_formula_to_the_last_bit(
    seed: int, dtype: torch.dtype
) -> None:
    def random_pass(length: int) -> Pass:
        logits = (3 * torch.randn(6, length, 37, generator=generator)).to(dtype)
        labels = torch.randint(37, (6, length), generator=generator)
        lengths = torch.randint(1, length + 1, (6, 1), generator=generator)
        labels[torch.arange(length) >= lengths] = IGNORED
        return Pass(logits.requires_grad_(), labels)

    generator = torch.Generator().manual_seed(seed)
    predict, explain = random_pass(5), random_pass(11)
    ours = losses("mi-official", predict, explain)["loss"]
    our_gradients = torch.autograd.grad(ours, [predict.logits, explain.logits])

    # as arXiv 2403.03348's formula and its published loss read, with transformers' losses
    token_loss = nn.CrossEntropyLoss(ignore_index=-100)
    predict_loss = token_loss(predict.logits.view(-1, 37), predict.labels.view(-1))
    explain_loss = token_loss(explain.logits.view(-1, 37), explain.labels.view(-1))
    theirs = 0.25 * predict_loss + (1.0 - 0.25) * explain_loss
    z, _ = torch.max(torch.softmax(predict.logits.detach(), dim=-1), dim=-2)
    v, _ = torch.max(torch.softmax(explain.logits, dim=-1), dim=-2)
    theirs = theirs + 0.1 * nn.CrossEntropyLoss()(v, z)
    their_gradients = torch.autograd.grad(theirs, [predict.logits, explain.logits])

    assert torch.equal(ours, theirs)
    assert all(map(torch.equal, our_gradients, their_gradients))


@pytest.mark.parametrize("name", ["mi-unsafe", "kl"])
@pytest.mark.parametrize("reduction", ["max", "mean"])
@pytest.mark.parametrize("detach", ["predict", "explain", "none"])
def test_only_the_side_that_is_not_detached_learns(name: str, reduction: str, detach: str) -> None:
    predict, explain = predict_pass(), explain_pass()
    options = OPTIONS._replace(reduction=reduction, detach=detach)
    term = losses(name, predict, explain, options)["loss_kl" if name == "kl" else "loss_mi"]
    term.backward()
    for side, one in (("predict", predict), ("explain", explain)):
        gradient = torch.zeros(2, 2, 3) if one.logits.grad is None else one.logits.grad
        assert (gradient.abs().sum() > 0) == (side != detach)
        assert torch.equal(gradient[1, 1], torch.zeros(3))  # padding earns nothing


def test_the_official_term_teaches_the_explain_pass_padding_included() -> None:
    predict, explain = predict_pass(), explain_pass()
    losses("mi-official", predict, explain)["loss_mi"].backward()
    assert predict.logits.grad is None
    assert explain.logits.grad[1, 1].abs().sum() > 0


def test_alpha_by_entropy() -> None:
    # by hand: mean entropies (3/2 log 2 + 3/4 log(4/3) + 3/4 log 2) / 2 and 3/2 log 2
    first = math.exp(-(9 / 4 * LOG2 + 3 / 4 * math.log(4 / 3)) / 2)
    expected = [(0.25 + first) / 2, (0.25 + 2**-1.5) / 2]
    alpha = alpha_by_entropy(predict_pass(), 0.25)
    assert alpha.tolist() == pytest.approx(expected)
    assert not alpha.requires_grad

    found = losses("dss", predict_pass(), explain_pass(), OPTIONS._replace(alpha_by_entropy=True))
    label = [-math.log(0.5) - math.log(0.75), -math.log(0.5)]  # each row's sum
    rationale = [-math.log(0.5) - math.log(0.5), -math.log(0.5)]
    whole = sum(
        a * one / 3 + (1 - a) * other / 3
        for a, one, other in zip(expected, label, rationale, strict=True)
    )
    assert found["loss"].item() == pytest.approx(whole)
    assert found["loss_predict"].item() == pytest.approx(sum(label) / 3)
    assert found["loss_explain"].item() == pytest.approx(sum(rationale) / 3)
    assert found["alpha"].item() == pytest.approx(sum(expected) / 2)


def test_a_sure_student_gets_the_highest_alpha() -> None:
    sure = Pass(torch.tensor([[[50.0, 0.0, 0.0]]]), torch.tensor([[0]]))
    assert alpha_by_entropy(sure, 0.25).item() == pytest.approx((0.25 + 1) / 2)


def test_the_objectives_weigh_their_terms() -> None:
    predict, explain = predict_pass(), explain_pass()
    label = -(math.log(0.5) + math.log(0.75) + math.log(0.5)) / 3
    rationale = LOG2  # each of its three tokens has a half
    both = 0.25 * label + 0.75 * rationale
    terms = {
        "loss_mi": mutual_information_loss(predict, explain, "max", "predict", 2).item(),
        "loss_kl": symmetric_kl_loss(predict, explain, "max", "predict", 2).item(),
    }
    assert losses("finetune", predict, explain)["loss"].item() == pytest.approx(label)
    assert losses("dss", predict, explain)["loss"].item() == pytest.approx(both)
    for name, term in (("mi-unsafe", "loss_mi"), ("kl", "loss_kl")):
        found = losses(name, predict, explain)
        assert found["loss"].item() == pytest.approx(both + 0.1 * terms[term])
        assert found["loss_predict"].item() == pytest.approx(label)
        assert found["loss_explain"].item() == pytest.approx(rationale)
        assert found[term].item() == pytest.approx(terms[term])


def test_mi_infonce_weighs_its_term() -> None:
    predict, explain = predict_pass(), explain_pass()
    view = torch.eye(2)
    pairs = Pairs(view, view, predict.labels, explain.has_targets)
    found = OBJECTIVES["mi-infonce"](
        predict,
        explain,
        OPTIONS._replace(temperature=0.5),
        WholeBatch.of(predict, explain, pairs),
    )
    assert found["loss_mi"].item() == pytest.approx(math.log(1 + math.exp(-2)))
    dss = losses("dss", predict, explain)["loss"].item()
    assert found["loss"].item() == pytest.approx(dss + 0.1 * math.log(1 + math.exp(-2)))


def test_beta_rises_in_a_line_and_stays() -> None:
    options = Options(beta=0.4, beta_warmup_steps=4)
    assert [options.at_step(step).beta for step in range(6)] == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4, 0.4]
    )
    assert Options(beta=0.4).at_step(0).beta == 0.4
