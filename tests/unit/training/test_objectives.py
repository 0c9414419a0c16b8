"""Values computed by hand, over a vocabulary of three tokens."""

import math

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

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


def without_second_rationale(explain: Pass) -> Pass:
    labels = explain.labels.clone()
    labels[1] = IGNORED
    return explain._replace(labels=labels)


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


@pytest.mark.parametrize("name", ["mi-official", "mi-unsafe", "kl"])
def test_a_row_without_a_rationale_counts_in_the_predict_pass_alone(name: str) -> None:
    predict, explain = predict_pass(), without_second_rationale(explain_pass())
    found = losses(name, predict, explain)
    first = losses(
        name,
        Pass(predict.logits[:1], predict.labels[:1]),
        Pass(explain.logits[:1], explain.labels[:1]),
    )
    term = "loss_kl" if name == "kl" else "loss_mi"
    assert found[term].item() == pytest.approx(first[term].item())
    assert found["loss_predict"].item() != first["loss_predict"].item()
    found["loss"].backward()
    assert torch.isfinite(explain.logits.grad).all()
    assert torch.equal(explain.logits.grad[1], torch.zeros(2, 3))


@pytest.mark.parametrize("name", ["dss", "mi-official", "mi-unsafe", "kl"])
@pytest.mark.parametrize("by_entropy", [False, True])
def test_a_batch_without_any_rationale_trains_the_predict_pass(name: str, by_entropy: bool) -> None:
    predict, explain = predict_pass(), explain_pass()
    explain = explain._replace(labels=torch.full_like(explain.labels, IGNORED))
    found = losses(name, predict, explain, OPTIONS._replace(alpha_by_entropy=by_entropy))
    found["loss"].backward()
    assert predict.logits.grad.abs().sum() > 0
    assert torch.equal(explain.logits.grad, torch.zeros(2, 2, 3))
    assert found["loss_explain"].item() == 0


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


def sure_pass(words: list[int], vocabulary: int, doubt: float = 0.01) -> Pass:
    """Of one row, whose every word has a probability of 1 - doubt; the others share the rest."""
    rows = torch.full((len(words), vocabulary), doubt / (vocabulary - 1), dtype=torch.float64)
    rows[torch.arange(len(words)), words] = 1 - doubt
    return Pass(rows.log()[None].requires_grad_(), torch.tensor([words]))


# what is wrong with mi-unsafe: a label of one word and its end, and a rationale of ten other words
LABEL, END, RATIONALE = 2, 1, [*range(10, 19), 1]


@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_the_unsafe_term_is_least_where_the_rationale_is_its_label(reduction: str) -> None:
    label = sure_pass([LABEL, END], vocabulary=20)

    def term(rationale: list[int]) -> float:
        explain = sure_pass(rationale, vocabulary=20)
        return mutual_information_loss(label, explain, reduction, "predict", rows=1).item()

    target = reduced_log_distribution(label, reduction)
    least = -(target.exp() * target).sum().item()  # H(P), which no distribution goes below
    assert term([LABEL, END]) == pytest.approx(least)
    assert term(RATIONALE) > 2 * least
    assert term([LABEL, *RATIONALE]) > 2 * least  # a rationale that holds its label costs, too


@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_the_unsafe_term_pulls_the_label_in_harder_than_the_rationale_holds(reduction: str) -> None:
    """At the first position of a rationale that is nearly learnt, with the default α and β."""
    label = sure_pass([LABEL, END], vocabulary=20)
    explain = sure_pass(RATIONALE, vocabulary=20)
    with torch.no_grad():
        explain.logits[0, 0, LABEL] = math.log(0.05)  # the student hesitates a little
    found = losses("mi-unsafe", label, explain, Options(detach="predict", reduction=reduction))
    (pull,) = torch.autograd.grad(0.1 * found["loss_mi"], explain.logits, retain_graph=True)
    (push,) = torch.autograd.grad(0.5 * found["loss_explain"], explain.logits)
    assert pull[0, 0, LABEL] < 0 < push[0, 0, LABEL]  # a step goes against the gradient
    assert -pull[0, 0, LABEL] > push[0, 0, LABEL]
    # of all that it raises, half and more is the label's word
    raised = -pull.clamp(max=0)
    assert raised[..., LABEL].sum() > 0.5 * raised.sum()


def test_no_word_of_a_rationale_is_taught_by_infonce() -> None:
    label, explain = sure_pass([LABEL, END], 20), sure_pass(RATIONALE, 20)
    view = torch.eye(1, 4, dtype=torch.float64, requires_grad=True)
    pairs = Pairs(view, view, label.labels, explain.has_targets)
    whole = WholeBatch.of(label, explain, pairs)
    term = OBJECTIVES["mi-infonce"](label, explain, OPTIONS, whole)["loss_mi"]
    inputs = [label.logits, explain.logits]
    assert torch.autograd.grad(term, inputs, allow_unused=True) == (None, None)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("by_entropy", [False, True])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_parts_of_a_batch_give_its_loss_and_its_gradients(
    name: str, by_entropy: bool, processes: int
) -> None:
    """Accumulated gradients add up (1 process); those of two processes are averaged."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    views = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(5, (2, 4, 3), generator=generator)
    labels[0, 1, 1:] = IGNORED
    labels[1, 2] = IGNORED  # no rationale
    labels[1, 3, 2:] = IGNORED
    options = OPTIONS._replace(alpha_by_entropy=by_entropy)
    predict, explain = (Pass(logits[i], labels[i]) for i in (0, 1))
    pairs = Pairs(*F.normalize(views, dim=-1), predict.labels, explain.has_targets)
    whole = WholeBatch.of(predict, explain, pairs)

    def loss_of_part(start: int, stop: int) -> torch.Tensor:
        parts = (Pass(one.logits[start:stop], one.labels[start:stop]) for one in (predict, explain))
        part = WholeBatch(*(count / processes for count in whole[:3]), pairs, slice(start, stop))
        return OBJECTIVES[name](*parts, options, part)["loss"]

    expected = OBJECTIVES[name](predict, explain, options, whole)["loss"]
    found = (loss_of_part(0, 1) + loss_of_part(1, 4)) / processes
    torch.testing.assert_close(found, expected)
    inputs = [logits, views]
    gradients = torch.autograd.grad(expected, inputs, retain_graph=True, materialize_grads=True)
    of_parts = torch.autograd.grad(found, inputs, materialize_grads=True)
    torch.testing.assert_close(of_parts, gradients)
