"""Texts are the same with any draft as without, and as transformers writes them."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from export import bundle, verify
from export.ngrams import write_draft_table
from service.engine.draft import Drafter, NgramTable
from service.engine.generation import Generation, best_width
from service.engine.job import Job
from service.engine.runner import Runner
from service.engine.scheduler import Scheduler
from tests.support.bundles import LIMITS, Text, reference, write_bundle
from tests.support.stepped_runner import TIMEOUT
from tests.support.tiny_students import KINDS, problems, tiny_student

TEXTS = problems(24)


class Oracle(Drafter):
    """Drafts what it is told, however unlikely that may be."""

    def __init__(self, tokens: list[int]) -> None:
        super().__init__([], 0, None)
        self.told = tokens
        self.written = 0

    def extend(self, tokens: list[int]) -> None:
        super().extend(tokens)
        self.written = len(self._tokens) - 1

    def draft(self, limit: int, floor: float, end_id: int) -> tuple[list[int], list[float]]:
        rest = self.told[self.written :][: min(limit, 7)]
        return rest, [1.0] * len(rest)


class Case:
    """A student, its scheduler, and what transformers writes with it."""

    def __init__(self, folder: Path, kind: str, seed: int) -> None:
        self.student = tiny_student(kind, seed)
        write_bundle(folder, self.student)
        self.scheduler = Scheduler(Runner(verify.read(folder), threads=1), max_rows=5)
        self.expected: list[tuple[list[int], Text]] = []
        for text in TEXTS:
            voices = zip(("predict: ", "explain: "), reference(self.student, text), strict=True)
            for prefix, voice in voices:
                prompt = self.student.tokenizer(prefix + text)["input_ids"]
                self.expected.append((prompt, voice))
        self.limits = [LIMITS.label_tokens, LIMITS.rationale_tokens] * len(TEXTS)
        path = folder / bundle.DRAFT
        texts = [voice.tokens for _, voice in self.expected]
        write_draft_table(path, texts * 2, start_id=0, max_bytes=10**6)
        self.table = NgramTable(path, self.student.model.config.vocab_size)

    def run(self, drafter: Callable[[int], Drafter | None], seed: int) -> list[Generation]:
        """Everything at once, in an order of its own; `drafter` is by case."""
        rows = [
            Generation(prompt, limit, drafter(i))
            for i, ((prompt, _), limit) in enumerate(zip(self.expected, self.limits, strict=True))
        ]
        jobs = [Job([row]) for row in rows]
        for job in random.Random(seed).sample(jobs, len(jobs)):
            self.scheduler.submit(job)
        for job in jobs:
            job.future.result(TIMEOUT)
        return rows

    def check(self, rows: list[Generation]) -> None:
        for row, (_, text) in zip(rows, self.expected, strict=True):
            assert row.tokens == text.tokens
            assert row.logprob == pytest.approx(text.logprob, abs=1e-4 * len(text.tokens))
            assert row.job.steps == len(row.tokens) - row.accepted


@pytest.fixture(scope="module", params=[(kind, seed) for kind in KINDS for seed in (0, 5)], ids=str)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    case = Case(tmp_path_factory.mktemp("generation") / "bundle", *request.param)
    yield case
    case.scheduler.close()


def test_without_drafts(case: Case) -> None:
    rows = case.run(lambda i: None, seed=0)
    case.check(rows)
    assert all(row.drafted == row.accepted == 0 for row in rows)


@pytest.mark.parametrize("seed", [0, 1])
def test_with_quotes_and_the_table(case: Case, seed: int) -> None:
    plain = case.run(lambda i: None, seed)
    drafters = [Drafter(prompt, 0, case.table) for prompt, _ in case.expected]
    rows = case.run(lambda i: drafters[i], seed)
    case.check(rows)
    for row, other in zip(rows, plain, strict=True):
        assert row.logprob == other.logprob
    assert sum(row.accepted for row in rows) > 0.2 * sum(len(row.tokens) for row in rows)
    assert all(row.accepted <= row.drafted for row in rows)


def test_with_right_drafts(case: Case) -> None:
    """Drafts that know it all, and go on after the end and the limit."""
    oracles = [Oracle([*text.tokens, 7, 8, 9, 1]) for _, text in case.expected]
    rows = case.run(lambda i: oracles[i] if i % 3 else None, seed=2)
    texts = [text for _, text in case.expected]
    for row, text in zip(rows, texts, strict=True):
        assert row.tokens == text.tokens
        assert row.logprob == pytest.approx(text.logprob, abs=1e-3)
    drafted = [row for i, row in enumerate(rows) if i % 3]
    assert sum(row.accepted for row in drafted) > 0.5 * sum(len(row.tokens) for row in drafted)


def test_with_wrong_drafts(case: Case) -> None:
    rng = random.Random(4)
    vocab_size = case.student.model.config.vocab_size

    def spoilt(tokens: list[int]) -> list[int]:
        """A token in three is another one, the end now and then."""
        return [rng.choice([token, token, rng.randrange(vocab_size), 1]) for token in tokens]

    oracles = [Oracle(spoilt(text.tokens)) for _, text in case.expected]
    rows = case.run(lambda i: oracles[i], seed=3)
    case.check(rows)
    assert 0 < sum(row.accepted for row in rows) < sum(row.drafted for row in rows)


def test_the_width_is_what_pays() -> None:
    assert best_width([[], []]) == 1
    assert best_width([[0.9, 0.8, 0.7]]) == 4
    assert best_width([[0.9, 0.8, 0.01]]) == 3
    assert best_width([[0.05]]) == 1
    # the more rows, the surer a draft must be
    assert best_width([[0.5]] * 2) == 2
    assert best_width([[0.5]] * 32) == 1
    assert best_width([[0.95, 0.9]] * 32) == 3
    # a row that knows what follows is not worth it to widen the step of all others
    assert best_width([[0.99]] + [[]] * 20) == 1
