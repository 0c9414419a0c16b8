import math

import pytest
import torch

from tests.support.bundles import LIMITS, TASK, explanation, reference
from tests.support.tiny_students import Student, problems, tiny_student
from training.student import decoding
from training.student.decoding import batches_of, generate, log_distributions, score


def prompts(student: Student, count: int) -> list[list[int]]:
    ids: list[list[int]] = student.tokenizer([TASK.predict_prefix + t for t in problems(count)])[
        "input_ids"
    ]
    assert len({len(one) for one in ids}) > 3
    return ids


@pytest.fixture(scope="module")
def ending() -> Student:
    """A student some of whose texts end within LIMITS, and some do not, whatever its libraries."""
    for seed in range(50):
        student = tiny_student(seed=seed)
        lengths = {len(reference(student, text).label.tokens) for text in problems(12)}
        if len(lengths) > 2 and max(lengths) == LIMITS.label_tokens:
            return student
    raise AssertionError("no such student")


def test_texts_and_their_probabilities_are_those_of_each_prompt_alone(ending: Student) -> None:
    found = generate(ending.model, prompts(ending, 12), LIMITS.label_tokens)
    expected = [reference(ending, text).label for text in problems(12)]
    assert [tokens for tokens, _ in found] == [one.tokens for one in expected]
    assert [logprob for _, logprob in found] == pytest.approx(
        [one.logprob for one in expected], abs=1e-4
    )


def test_the_decoder_prefix_is_read_first(ending: Student) -> None:
    labels = [tokens for tokens, _ in generate(ending.model, prompts(ending, 12), 6)]
    texts = [TASK.explain_prefix + text for text in problems(12)]
    inputs = ending.tokenizer(texts)["input_ids"]
    found = generate(ending.model, inputs, LIMITS.rationale_tokens, labels)
    pairs = zip(problems(12), labels, strict=True)
    expected = [explanation(ending, text, label) for text, label in pairs]
    assert [tokens for tokens, _ in found] == [one.tokens for one in expected]
    assert [logprob for _, logprob in found] == pytest.approx(
        [one.logprob for one in expected], abs=1e-3
    )


def test_log_distributions_give_a_texts_tokens_their_probability(ending: Student) -> None:
    inputs = prompts(ending, 12)
    labels = generate(ending.model, inputs, 6)
    prefixes = [tokens[: place % 3] for place, (tokens, _) in enumerate(labels)]
    texts = generate(ending.model, inputs, LIMITS.rationale_tokens, prefixes)
    tables = log_distributions(ending.model, inputs, [tokens for tokens, _ in texts], prefixes)
    for (tokens, logprob), table in zip(texts, tables, strict=True):
        assert table.shape == (len(tokens), ending.model.config.vocab_size)
        assert table.argmax(-1).tolist() == tokens
        assert float(table.amax(-1).sum()) == pytest.approx(logprob, abs=1e-3)


def test_the_end_token_counts(ending: Student) -> None:
    texts = generate(ending.model, prompts(ending, 12), LIMITS.label_tokens)
    place, (tokens, logprob) = next(
        (place, text)
        for place, text in enumerate(texts)
        if text[0][-1] == ending.tokenizer.eos_token_id
    )
    cut = generate(ending.model, prompts(ending, 12), len(tokens) - 1)
    assert cut[place][0] == tokens[:-1]
    assert logprob < cut[place][1] - 1e-6


@pytest.mark.parametrize("at_once", [decoding.SCORED_TOKENS, 20, 1])
def test_labels_are_scored_as_transformers_scores_each_alone(
    student: Student, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "SCORED_TOKENS", at_once)
    sets = [["yes", "no", "( 3 + 1 )"], ["( 3 + 10 ) and more"], ["no", "maybe"]]
    labels = [student.tokenizer(names)["input_ids"] for names in sets]
    inputs = prompts(student, 12)[1:12:4]
    found = score(student.model, inputs, labels)
    for prompt, ids, values in zip(inputs, labels, found, strict=True):
        for tokens, value in zip(ids, values.tolist(), strict=True):
            with torch.inference_mode():
                loss = student.model(
                    input_ids=torch.tensor([prompt]), labels=torch.tensor([tokens])
                ).loss
            assert value == pytest.approx(-float(loss) * len(tokens), abs=1e-4)
            assert tokens[-1] == student.tokenizer.eos_token_id
            assert math.exp(value) < 1


def test_batches_hold_like_sizes_and_no_more_tokens_than_they_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "BATCH_TOKENS", 60)
    sizes = [5, 20, 6, 100, 7, 19]
    batches = [*batches_of(sizes, written=10)]
    assert batches == [[3], [1, 5], [4, 2, 0]]  # what is too long for any stands alone
    assert [*batches_of([], 1)] == []
