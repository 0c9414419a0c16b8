import pytest
import torch
from torch import Tensor
from transformers import T5ForConditionalGeneration

from tasks.builtin import TASKS
from tests.support.tiny_students import KINDS, Kind, problems, tiny_student
from training.data.batches import TokenizedExamples, TwoPassCollator
from training.student.files import Example
from training.student.passes import Pass
from training.student.unpadded import UnpaddedT5


def batches(explain_given_label: bool = False) -> list[dict[str, Tensor]]:
    """Both passes of rows of very different lengths, one of them without a rationale."""
    tokenizer = tiny_student().tokenizer
    rationales = ["Short.", None, "A much longer rationale, " * 3, "He has 3 + 4 = 7."]
    examples = [
        Example({"text": text}, label, rationale)
        for text, label, rationale in zip(
            problems(4), ["1", "( 2 + 3 )", "x", "( 1 + 2 ) * 3"], rationales, strict=True
        )
    ]
    limits = dict.fromkeys(("max_input_tokens", "max_label_tokens", "max_rationale_tokens"), 64)
    rows = TokenizedExamples(examples, TASKS["svamp"], tokenizer, **limits)
    collator = TwoPassCollator(0, 0, explain_given_label)
    return list(collator([rows[i] for i in range(4)]).values())


def padded(model: T5ForConditionalGeneration, one: dict[str, Tensor]) -> Pass:
    inputs = {name: tensor for name, tensor in one.items() if name != "labels"}
    output = model(**inputs, output_hidden_states=True)
    return Pass(output.logits, one["labels"], output.decoder_hidden_states[-1])


@pytest.mark.parametrize("explain_given_label", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_passes_are_those_of_transformers(kind: Kind, explain_given_label: bool) -> None:
    plain = tiny_student(kind).model
    model = UnpaddedT5(plain.config).eval()
    model.load_state_dict(plain.state_dict())
    both = batches(explain_given_label)
    passes = model(passes=both)
    for given, expected in zip(passes, [padded(plain, one) for one in both], strict=True):
        there = expected.targets
        torch.testing.assert_close(given.log_probs, expected.log_probs)
        assert given.states is not None
        assert expected.states is not None
        torch.testing.assert_close(given.states[there], expected.states[there])
        assert torch.equal(given.labels, expected.labels)
        weights = torch.linspace(-1, 1, given.log_probs.numel())
        for one in (given, expected):
            (one.log_probs.flatten() * weights).sum().backward(retain_graph=True)
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(
            model.get_parameter(name).grad, weight.grad, rtol=1e-3, atol=1e-3
        )


def test_one_pass_alone_is_the_same_and_all_else_is_transformers() -> None:
    plain = tiny_student().model
    model = UnpaddedT5(plain.config).eval()
    model.load_state_dict(plain.state_dict())
    predict, explain = batches()
    (alone,) = model(passes=[predict])
    together, _ = model(passes=[predict, explain])
    torch.testing.assert_close(alone.log_probs, together.log_probs)
    asked = {name: predict[name] for name in ("input_ids", "attention_mask")}
    assert torch.equal(
        model.generate(**asked, max_new_tokens=8), plain.generate(**asked, max_new_tokens=8)
    )
    labels = predict["labels"]
    torch.testing.assert_close(
        model(**asked, labels=labels).loss, plain(**asked, labels=labels).loss
    )


def test_dropout_is_everywhere_that_transformers_has_it() -> None:
    """In training, the mean output over many draws is near that of transformers."""
    torch.manual_seed(0)
    model = UnpaddedT5(tiny_student().model.config).train()
    predict, _ = batches()

    def moments(draw: object) -> tuple[Tensor, Tensor]:
        draws = torch.stack([draw().log_probs for _ in range(144)])  # type: ignore[operator]
        return draws.mean(dim=0), draws.std(dim=0)

    with torch.no_grad():
        mean, deviation = moments(lambda: model(passes=[predict])[0])
        expected_mean, expected_deviation = moments(lambda: padded(model, predict))
    error = expected_deviation / 12  # of a mean over 144 draws
    assert ((mean - expected_mean) / error).square().mean().item() == pytest.approx(2, abs=0.6)
    assert deviation.mean().item() == pytest.approx(expected_deviation.mean().item(), rel=0.03)
