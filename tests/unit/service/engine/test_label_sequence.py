"""Scores of label sets, against transformers' teacher-forced sums."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from export import verify
from export.reference import pad
from service.engine.label_sequence import LabelSequence
from service.engine.scheduler import Scheduler
from service.engine.sequence import EngineRequest
from service.engine.step import STEP_TOKENS
from service.engine.text_sequence import TextSequence
from tests.support.bundles import reference, write_bundle
from tests.support.label_tries import random_labels, trie_of
from tests.support.stepped_runner import TIMEOUT, SteppedRunner
from tests.support.tiny_students import KINDS, Student, problems, tiny_student


@pytest.fixture(scope="module", params=KINDS)
def student(request: pytest.FixtureRequest) -> Student:
    return tiny_student(request.param, seed=3)


@pytest.fixture(scope="module")
def folder(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "bundle"
    write_bundle(folder, student)
    return folder


@pytest.fixture
def runner(folder: Path) -> SteppedRunner:
    runner = SteppedRunner(verify.read(folder), threads=1)
    runner.release()
    return runner


@pytest.fixture
def scheduler(runner: SteppedRunner) -> Iterator[Scheduler]:
    scheduler = Scheduler(runner, max_rows=6)
    yield scheduler
    scheduler.close()


@torch.inference_mode()
def sums(student: Student, prompt: list[int], labels: Sequence[list[int]]) -> np.ndarray:
    """The log-probability of each label after the prompt, by transformers' teacher forcing."""
    model = student.model
    padded, mask = map(torch.from_numpy, pad(labels, 0))
    encoded = model.encoder(input_ids=torch.tensor([prompt])).last_hidden_state
    logits = model(
        encoder_outputs=(encoded.expand(len(labels), -1, -1),),
        decoder_input_ids=model.prepare_decoder_input_ids_from_labels(padded),
    ).logits
    logprobs = logits.double().log_softmax(-1).gather(-1, padded.unsqueeze(-1)).squeeze(-1)
    return (logprobs * mask).sum(-1).numpy()


@pytest.mark.parametrize(
    ("count", "longest"), [(1, 1), (1, 9), (2, 2), (3, 4), (6, 1), (20, 3), (60, 11)]
)
def test_scores_are_transformers_sums(
    scheduler: Scheduler, student: Student, count: int, longest: int
) -> None:
    """Alone, and then again beside others and a text that is being generated."""
    rng = random.Random(count)
    prompts = [student.tokenizer("predict: " + text)["input_ids"] for text in problems(5)]
    tries = [trie_of(random_labels(rng, count, longest)) for _ in prompts]
    alone = []
    for prompt, trie in zip(prompts, tries, strict=True):
        scoring = LabelSequence(prompt, trie)
        request = EngineRequest([scoring])
        scheduler.submit(request)
        request.future.result(TIMEOUT)
        labels = [trie.label_tokens(i) for i in range(count)]
        np.testing.assert_allclose(scoring.logprobs, sums(student, prompt, labels), atol=1e-4)
        assert request.steps == -(-len(trie) // STEP_TOKENS)
        alone.append(scoring.logprobs)

    together = [LabelSequence(prompt, trie) for prompt, trie in zip(prompts, tries, strict=True)]
    large = LabelSequence(prompts[0], trie_of(random_labels(rng, 150, 8)))
    text = problems(1)[0]
    explained = student.tokenizer("explain: " + text)["input_ids"]
    rationale = TextSequence(explained, 48)
    requests = [EngineRequest([sequence]) for sequence in [*together[:2], large, *together[2:]]] + [
        EngineRequest([rationale])
    ]
    for request in requests:
        scheduler.submit(request)
    for request in requests:
        request.future.result(TIMEOUT)
    for scoring, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(scoring.logprobs, expected)
    assert rationale.tokens == reference(student, text).rationale.tokens


def test_a_thousand_labels_take_bounded_steps(
    scheduler: Scheduler, runner: SteppedRunner, student: Student
) -> None:
    labels = random_labels(random.Random(0), 1000, 6)
    prompt = student.tokenizer("predict: " + problems(1)[0])["input_ids"]
    scoring = LabelSequence(prompt, trie_of(labels))
    request = EngineRequest([scoring])
    scheduler.submit(request)
    request.future.result(TIMEOUT)
    np.testing.assert_allclose(scoring.logprobs, sums(student, prompt, labels), atol=1e-4)
    assert max(runner.tokens) == STEP_TOKENS
    assert runner.width <= STEP_TOKENS + 32  # cache entries: no more than of a part and a path


def test_parts_change_no_score(
    scheduler: Scheduler,
    runner: SteppedRunner,
    student: Student,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A large trie, with paths over the ends of parts, in parts of several sizes and in one."""
    trie = trie_of(random_labels(random.Random(5), 300, 12))
    assert len(trie) > 4 * STEP_TOKENS
    prompt = student.tokenizer("predict: " + problems(1)[0])["input_ids"]
    scores = []
    for tokens in (len(trie), STEP_TOKENS, 17, 1):
        for module in ("label_sequence", "step"):
            monkeypatch.setattr(f"service.engine.{module}.STEP_TOKENS", tokens)
        scoring = LabelSequence(prompt, trie)
        request = EngineRequest([scoring])
        scheduler.submit(request)
        request.future.result(TIMEOUT)
        assert request.steps == -(-len(trie) // tokens)
        scores.append(scoring.logprobs)
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=2e-5)


def test_a_short_set_is_not_held_up_by_a_long_one(
    scheduler: Scheduler, runner: SteppedRunner, student: Student
) -> None:
    prompt = student.tokenizer("predict: " + problems(1)[0])["input_ids"]
    rng = random.Random(1)
    while runner.allowed.acquire(blocking=False):
        pass
    long = EngineRequest([LabelSequence(prompt, trie_of(random_labels(rng, 400, 7)))])
    scheduler.submit(long)
    runner.wait_for_step()
    short = EngineRequest([LabelSequence(prompt, trie_of(random_labels(rng, 3, 3)))])
    runner.hold_encodings()
    scheduler.submit(short)
    runner.allowed.release()
    runner.wait_for_step()
    runner.finish_encodings(scheduler)  # of the short one's prompt, beside the second step
    runner.allowed.release(2)
    short.future.result(TIMEOUT)
    assert short.steps == 1
    assert not long.future.done()
    assert runner.tokens[2] <= 16 * 2
    runner.release()
    long.future.result(TIMEOUT)
