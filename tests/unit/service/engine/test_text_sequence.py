"""Texts are the same with any draft as without, and as transformers writes them."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from export import bundle, verify
from export.ngrams import write_draft_table
from service.engine.draft import Drafter, NgramTable
from service.engine.onnx_runner import OnnxRunner
from service.engine.scheduler import Scheduler
from service.engine.sequence import EngineRequest
from service.engine.text_sequence import TextSequence
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
        self.scheduler = Scheduler(OnnxRunner(verify.read(folder), threads=1), max_rows=5)
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

    def run(self, drafter: Callable[[int], Drafter | None], seed: int) -> list[TextSequence]:
        """Everything at once, in an order of its own; `drafter` is by case."""
        written = [
            TextSequence(prompt, limit, drafter(i))
            for i, ((prompt, _), limit) in enumerate(zip(self.expected, self.limits, strict=True))
        ]
        requests = [EngineRequest([one]) for one in written]
        for request in random.Random(seed).sample(requests, len(requests)):
            self.scheduler.submit(request)
        for request in requests:
            request.future.result(TIMEOUT)
        return written

    def check(self, written: list[TextSequence]) -> None:
        for one, (_, text) in zip(written, self.expected, strict=True):
            assert one.tokens == text.tokens
            assert one.logprob == pytest.approx(text.logprob, abs=1e-4 * len(text.tokens))
            assert one.request.steps == len(one.tokens) - one.accepted


@pytest.fixture(scope="module", params=[(kind, seed) for kind in KINDS for seed in (0, 5)], ids=str)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    case = Case(tmp_path_factory.mktemp("generation") / "bundle", *request.param)
    yield case
    case.scheduler.close()


def test_without_drafts(case: Case) -> None:
    written = case.run(lambda i: None, seed=0)
    case.check(written)
    assert all(one.drafted == one.accepted == 0 for one in written)


@pytest.mark.parametrize("seed", [0, 1])
def test_with_quotes_and_the_table(case: Case, seed: int) -> None:
    plain = case.run(lambda i: None, seed)
    drafters = [Drafter(prompt, 0, case.table) for prompt, _ in case.expected]
    written = case.run(lambda i: drafters[i], seed)
    case.check(written)
    for one, other in zip(written, plain, strict=True):
        assert one.logprob == other.logprob
    assert sum(one.accepted for one in written) > 0.2 * sum(len(one.tokens) for one in written)
    assert all(one.accepted <= one.drafted for one in written)


def test_with_right_drafts(case: Case) -> None:
    """Drafts that know it all, and go on after the end and the limit."""
    oracles = [Oracle([*text.tokens, 7, 8, 9, 1]) for _, text in case.expected]
    written = case.run(lambda i: oracles[i] if i % 3 else None, seed=2)
    texts = [text for _, text in case.expected]
    for one, text in zip(written, texts, strict=True):
        assert one.tokens == text.tokens
        assert one.logprob == pytest.approx(text.logprob, abs=1e-3)
    drafted = [one for i, one in enumerate(written) if i % 3]
    assert sum(one.accepted for one in drafted) > 0.5 * sum(len(one.tokens) for one in drafted)


def test_with_wrong_drafts(case: Case) -> None:
    rng = random.Random(4)
    vocab_size = case.student.model.config.vocab_size

    def spoilt(tokens: list[int]) -> list[int]:
        """A token in three is another one, the end now and then."""
        return [rng.choice([token, token, rng.randrange(vocab_size), 1]) for token in tokens]

    oracles = [Oracle(spoilt(text.tokens)) for _, text in case.expected]
    written = case.run(lambda i: oracles[i], seed=3)
    case.check(written)
    assert 0 < sum(one.accepted for one in written) < sum(one.drafted for one in written)
