"""Scores of label sets, against transformers' teacher-forced sums."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from export import verify
from export.reference import pad
from service.engine.generation import Generation
from service.engine.job import Job
from service.engine.labels import STEP_TOKENS, LabelTrie, Scoring, rank
from service.engine.scheduler import Scheduler
from tests.support.bundles import reference, write_bundle
from tests.support.stepped_runner import TIMEOUT, SteppedRunner
from tests.support.tiny_students import KINDS, Student, problems, tiny_student

ALPHABET = 6  # few, so that random labels share beginnings


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


def random_labels(rng: random.Random, count: int, longest: int) -> list[list[int]]:
    """Different labels with shared beginnings, some the beginning of others."""
    labels: dict[tuple[int, ...], None] = {}
    while len(labels) < count:
        labels[tuple(rng.choices(range(10, 10 + ALPHABET), k=rng.randint(1, longest)))] = None
    return [[*label, 1] for label in labels]


def trie_of(labels: list[list[int]]) -> LabelTrie:
    return LabelTrie([str(label) for label in labels], labels)


def test_labels_share_nodes() -> None:
    labels = [[5, 6, 1], [5, 1], [7, 1], [5, 6, 8, 1]]
    trie = trie_of(labels)
    assert len(trie) == len(
        {tuple(label[:i]) for label in labels for i in range(1, len(label) + 1)}
    )
    for label, end in zip(labels, trie.ends, strict=True):
        assert [trie.tokens[node] for node in [*trie.ancestors(end), end]] == label
    assert trie.lengths == [3, 2, 2, 4]


def test_texts_that_read_alike_share_an_end() -> None:
    trie = LabelTrie(["a", "a "], [[5, 1], [5, 1]])
    assert len(trie) == 2
    assert trie.ends[0] == trie.ends[1]


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
        scoring = Scoring(prompt, trie)
        job = Job([scoring])
        scheduler.submit(job)
        job.future.result(TIMEOUT)
        labels = [[trie.tokens[node] for node in [*trie.ancestors(end), end]] for end in trie.ends]
        np.testing.assert_allclose(scoring.logprobs, sums(student, prompt, labels), atol=1e-4)
        assert job.steps == -(-len(trie) // STEP_TOKENS)
        alone.append(scoring.logprobs)

    together = [Scoring(prompt, trie) for prompt, trie in zip(prompts, tries, strict=True)]
    large = Scoring(prompts[0], trie_of(random_labels(rng, 150, 8)))
    text = problems(1)[0]
    explained = student.tokenizer("explain: " + text)["input_ids"]
    rationale = Generation(explained, 48)
    jobs = [Job([row]) for row in [*together[:2], large, *together[2:]]] + [Job([rationale])]
    for job in jobs:
        scheduler.submit(job)
    for job in jobs:
        job.future.result(TIMEOUT)
    for scoring, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(scoring.logprobs, expected)
    assert rationale.tokens == reference(student, text).rationale.tokens


def test_a_thousand_labels_take_bounded_steps(
    scheduler: Scheduler, runner: SteppedRunner, student: Student
) -> None:
    labels = random_labels(random.Random(0), 1000, 6)
    prompt = student.tokenizer("predict: " + problems(1)[0])["input_ids"]
    scoring = Scoring(prompt, trie_of(labels))
    job = Job([scoring])
    scheduler.submit(job)
    job.future.result(TIMEOUT)
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
        monkeypatch.setattr("service.engine.labels.STEP_TOKENS", tokens)
        scoring = Scoring(prompt, trie)
        job = Job([scoring])
        scheduler.submit(job)
        job.future.result(TIMEOUT)
        assert job.steps == -(-len(trie) // tokens)
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
    long = Job([Scoring(prompt, trie_of(random_labels(rng, 400, 7)))])
    scheduler.submit(long)
    runner.wait_for_step()
    short = Job([Scoring(prompt, trie_of(random_labels(rng, 3, 3)))])
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


def test_rank_is_a_tempered_softmax() -> None:
    order, probabilities = rank(np.log([0.2, 0.4, 0.2]), temperature=1.0)
    assert order == [1, 0, 2]  # equals stay in their order
    assert probabilities == pytest.approx([0.25, 0.5, 0.25])
    order, probabilities = rank(np.array([-4000.0, -4002.0]), temperature=2.0)
    assert order == [0, 1]
    assert probabilities == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.e)])
    assert rank(np.array([-4000.0, -4002.0]), temperature=1e-306) == ([0, 1], [1.0, 0.0])
