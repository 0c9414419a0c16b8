"""What is wrong with mi-unsafe, and not with mi-infonce."""

import math

import pytest
import torch

from tests.support.passes import OPTIONS, losses
from training.objectives import (
    OBJECTIVES,
    Options,
    mutual_information_loss,
    reduced_log_distribution,
)
from training.student.passes import Pairs, Pass, WholeBatch


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
