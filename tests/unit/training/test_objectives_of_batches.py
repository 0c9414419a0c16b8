"""Rows without a rationale, and the parts of a batch."""

import pytest
import torch
import torch.nn.functional as F

from tests.support.passes import OPTIONS, explain_pass, losses, predict_pass
from training.objectives import (
    OBJECTIVES,
)
from training.student.passes import IGNORED, Pairs, Pass, WholeBatch


def without_second_rationale(explain: Pass) -> Pass:
    labels = explain.labels.clone()
    labels[1] = IGNORED
    return explain._replace(labels=labels)


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
