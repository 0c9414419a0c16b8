"""What fails alone in a step, and how wide a step is."""

import logging
from collections.abc import Sequence

import numpy as np
import pytest

from service.engine.draft import Drafter
from service.engine.label_sequence import LabelSequence
from service.engine.scheduler import Scheduler
from service.engine.sequence import EngineRequest
from service.engine.step import best_width
from service.engine.text_sequence import TextSequence
from service.errors import InternalError
from tests.support.bundles import reference
from tests.support.label_tries import trie_of
from tests.support.stepped_runner import TIMEOUT, SteppedRunner
from tests.support.tiny_students import Student, problems


class Faulty(Drafter):
    """Fails when it is asked for its `drafts`-th draft, or told of its `extensions`-th token."""

    def __init__(self, drafts: int = -1, extensions: int = -1) -> None:
        super().__init__([5, 6], 0, None)
        self.drafts, self.extensions = drafts, extensions

    def draft(self, limit: int, floor: float, end_id: int) -> tuple[list[int], list[float]]:
        self.drafts -= 1
        if self.drafts == 0:
            raise ZeroDivisionError("a poisoned draft")
        return [], []

    def extend(self, tokens: Sequence[int]) -> None:
        if tokens == [5, 6, 0]:  # at the start
            return
        self.extensions -= 1
        if self.extensions == 0:
            raise KeyError("a poisoned token")


@pytest.mark.parametrize(
    "fault", [{"drafts": 1}, {"drafts": 4}, {"extensions": 1}, {"extensions": 3}], ids=str
)
def test_a_text_that_is_poisoned_fails_alone(
    runner: SteppedRunner,
    student: Student,
    fault: dict[str, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    scheduler = Scheduler(runner, max_rows=4)
    texts = problems(3)
    prompts = [student.tokenizer("explain: " + text)["input_ids"] for text in texts]
    good = [EngineRequest([TextSequence(prompt, 48)]) for prompt in prompts]
    bad = EngineRequest(
        [
            TextSequence(prompts[0], 48, Faulty(**fault)),
            LabelSequence(prompts[0], trie_of([[5, 1]])),
        ]
    )
    for each in (good[0], bad, *good[1:]):
        scheduler.submit(each)
    runner.release()
    with pytest.raises(InternalError, match="inside the service"):
        bad.future.result(TIMEOUT)
    for text, done in zip(texts, good, strict=True):
        sequence = done.future.result(TIMEOUT).sequences[0]
        assert sequence.tokens == reference(student, text).rationale.tokens
        assert sequence.logprob == pytest.approx(
            reference(student, text).rationale.logprob, abs=1e-3
        )
    again = EngineRequest([TextSequence(prompts[0], 48)])  # in the slot of the poisoned one
    scheduler.submit(again)
    again.future.result(TIMEOUT)
    assert again.sequences[0].tokens == good[0].sequences[0].tokens
    (steps,) = fault.values()
    assert bad.steps == 1 + steps  # its label's, and its text's until it failed
    assert [record.exc_info is not None for record in errors(caplog)] == [True]
    assert not scheduler.broken
    scheduler.close()


@pytest.mark.parametrize("kind", ["sums", "trie"])
def test_a_label_set_that_is_poisoned_fails_alone(
    scheduler: Scheduler, runner: SteppedRunner, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    labels = trie_of([[5, 6, 1], [5, 1], [7, 1]])
    alone = LabelSequence([5, 6, 1], labels)
    scheduler.submit(EngineRequest([alone]))
    runner.release()
    alone.request.future.result(TIMEOUT)

    bad = LabelSequence([5, 1], trie_of([[5, 6, 1], [8, 1]]))
    if kind == "sums":
        bad.accept = None  # not to be called
    else:
        bad.trie.places.clear()
    good = [LabelSequence([5, 6, 1], labels) for _ in range(2)]
    for sequence in (good[0], bad, good[1]):
        scheduler.submit(EngineRequest([sequence]))
    with pytest.raises(InternalError):
        bad.request.future.result(TIMEOUT)
    for sequence in good:
        sequence.request.future.result(TIMEOUT)
        np.testing.assert_allclose(sequence.logprobs, alone.logprobs, atol=1e-5)
    assert len(errors(caplog)) == 1


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_the_width_is_what_pays() -> None:
    assert best_width([[1.0], [1.0]]) == 1
    assert best_width([[1.0, 0.9, 0.8, 0.7]]) == 4
    assert best_width([[1.0, 0.9, 0.8, 0.01]]) == 3
    assert best_width([[1.0, 0.05]]) == 1
    # the more rows, the surer a draft must be
    assert best_width([[1.0, 0.5]] * 2) == 2
    assert best_width([[1.0, 0.5]] * 32) == 1
    assert best_width([[1.0, 0.95, 0.9]] * 32) == 3
    # a row that knows what follows is not worth it to widen the step of all others
    assert best_width([[1.0, 0.99]] + [[1.0]] * 20) == 1
    # nor is a label set, unless few others have to wait for it
    assert best_width([[1.0] * 8, [1.0]]) == 8
    assert best_width([[1.0] * 8] + [[1.0]] * 20) == 1
    # what a sequence cannot do without has room
    assert best_width([[1.0] * 3] + [[1.0]] * 20, least=3) == 3
    assert best_width([[1.0, 1.0, 1.0, 0.9]], least=3) == 4
