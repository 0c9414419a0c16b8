import logging
import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

import numpy as np
import pytest

from service.engine.draft import Drafter
from service.engine.generation import Generation
from service.engine.job import Job
from service.engine.labels import LabelTrie, Scoring
from service.engine.scheduler import ENCODED_TOKENS, Scheduler
from service.errors import EngineUnavailable, InternalError
from tests.support.bundles import reference
from tests.support.stepped_runner import TIMEOUT, SteppedRunner
from tests.support.tiny_students import Student, problems


@pytest.fixture
def scheduler(runner: SteppedRunner) -> Iterator[Scheduler]:
    scheduler = Scheduler(runner, max_rows=3)
    yield scheduler
    runner.release()
    scheduler.close()


def job(*max_tokens: int, prompt: tuple[int, ...] = (5, 6, 1)) -> Job:
    return Job([Generation(list(prompt), limit) for limit in max_tokens])


def test_rows_join_and_leave_between_steps(
    scheduler: Scheduler, runner: SteppedRunner, student: Student
) -> None:
    """Five jobs in three rows: each text is transformers' own, and no row stays empty."""
    texts = problems(5)
    jobs = []
    for text in texts:
        prompt = student.tokenizer("predict: " + text)["input_ids"]
        jobs.append(Job([Generation(prompt, 12)]))
        scheduler.submit(jobs[-1])
    runner.release()
    for text, done in zip(texts, jobs, strict=True):
        assert done.future.result(TIMEOUT) is done
        expected = reference(student, text).label
        assert done.rows[0].tokens == expected.tokens
        assert done.rows[0].logprob == pytest.approx(expected.logprob, abs=1e-3)
        assert done.submitted <= done.admitted <= done.rows[0].finished
    assert max(runner.rows) == 3
    assert sum(runner.rows) == sum(len(done.rows[0].tokens) for done in jobs)


def test_a_job_is_done_when_all_its_rows_are(scheduler: Scheduler, runner: SteppedRunner) -> None:
    both = job(1, 3)
    scheduler.submit(both)
    runner.allowed.release(2)
    for _ in range(3):
        runner.wait_for_step()
    assert runner.rows == [2, 1, 1]
    assert not both.future.done()
    runner.allowed.release()
    both.future.result(TIMEOUT)
    assert [len(row.tokens) for row in both.rows] == [1, 3]


def test_a_cancelled_job_leaves_before_the_next_step(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    gone, stays = job(40, 40), job(4)
    scheduler.submit(gone)
    runner.wait_for_step()
    runner.hold_encodings()
    scheduler.submit(stays)
    runner.allowed.release()
    runner.wait_for_step()
    runner.finish_encodings(scheduler)
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows == [2, 2, 3]
    assert gone.future.cancel()
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows[-1] == 1
    runner.allowed.release(10)
    assert len(stays.future.result(TIMEOUT).rows[0].tokens) == 4


def test_a_job_cancelled_while_it_waits_never_runs(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    first, gone, last = job(2, 2, 2), job(2, 2, 2), job(2)
    for each in (first, gone, last):
        scheduler.submit(each)
    runner.wait_for_step()
    gone.future.cancel()
    runner.allowed.release(10)
    last.future.result(TIMEOUT)
    assert runner.rows == [3, 3, 1, 1]


def test_a_failing_step_fails_what_is_in_flight_and_nothing_else(
    scheduler: Scheduler, runner: SteppedRunner, student: Student
) -> None:
    text = problems(1)[0]
    prompt = tuple(student.tokenizer("predict: " + text)["input_ids"])
    in_flight, waiting = job(12, 12, 12), job(12, prompt=prompt)
    scheduler.submit(in_flight)
    runner.wait_for_step()
    scheduler.submit(waiting)
    runner.fault = RuntimeError("the runtime is out of memory")
    runner.release()
    with pytest.raises(EngineUnavailable, match="send the request again"):
        in_flight.future.result(TIMEOUT)
    done = waiting.future.result(TIMEOUT)
    assert done.rows[0].tokens == reference(student, text).label.tokens
    assert scheduler.alive


def test_one_step_that_goes_well_mends_a_broken_runtime(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    runner.release()
    for _ in range(3):
        assert not scheduler.broken
        failing = job(3)
        runner.fault = RuntimeError("the runtime is out of memory")
        scheduler.submit(failing)
        with pytest.raises(EngineUnavailable):
            failing.future.result(TIMEOUT)
    assert scheduler.broken
    assert scheduler.alive
    good = job(3)
    scheduler.submit(good)
    good.future.result(TIMEOUT)
    assert not scheduler.broken


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


def trie(*labels: list[int]) -> LabelTrie:
    return LabelTrie([str(label) for label in labels], labels)


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
    good = [Job([Generation(prompt, 48)]) for prompt in prompts]
    bad = Job([Generation(prompts[0], 48, Faulty(**fault)), Scoring(prompts[0], trie([5, 1]))])
    for each in (good[0], bad, *good[1:]):
        scheduler.submit(each)
    runner.release()
    with pytest.raises(InternalError, match="inside the service"):
        bad.future.result(TIMEOUT)
    for text, done in zip(texts, good, strict=True):
        row = done.future.result(TIMEOUT).rows[0]
        assert row.tokens == reference(student, text).rationale.tokens
        assert row.logprob == pytest.approx(reference(student, text).rationale.logprob, abs=1e-3)
    again = Job([Generation(prompts[0], 48)])  # in the slot that the poisoned row had
    scheduler.submit(again)
    again.future.result(TIMEOUT)
    assert again.rows[0].tokens == good[0].rows[0].tokens
    (steps,) = fault.values()
    assert bad.steps == 1 + steps  # its label's, and its text's until it failed
    assert [record.exc_info is not None for record in errors(caplog)] == [True]
    assert not scheduler.broken
    scheduler.close()


@pytest.mark.parametrize("kind", ["sums", "trie"])
def test_a_label_set_that_is_poisoned_fails_alone(
    scheduler: Scheduler, runner: SteppedRunner, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    labels = trie([5, 6, 1], [5, 1], [7, 1])
    alone = Scoring([5, 6, 1], labels)
    scheduler.submit(Job([alone]))
    runner.release()
    alone.job.future.result(TIMEOUT)

    bad = Scoring([5, 1], trie([5, 6, 1], [8, 1]))
    if kind == "sums":
        bad.accept = None  # not to be called
    else:
        bad.trie.places.clear()
    good = [Scoring([5, 6, 1], labels) for _ in range(2)]
    for row in (good[0], bad, good[1]):
        scheduler.submit(Job([row]))
    with pytest.raises(InternalError):
        bad.job.future.result(TIMEOUT)
    for row in good:
        row.job.future.result(TIMEOUT)
        np.testing.assert_allclose(row.logprobs, alone.logprobs, atol=1e-5)
    assert len(errors(caplog)) == 1


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_label_among_long_rationales_takes_its_own_steps(runner: SteppedRunner) -> None:
    """Scored or generated, it does not wait for them, and they do not wait for it."""
    scheduler = Scheduler(runner, max_rows=32)
    rationales = [job(48) for _ in range(31)]
    scheduler.submit(rationales[0])
    runner.wait_for_step()
    runner.hold_encodings()
    for rationale in rationales[1:]:
        scheduler.submit(rationale)
    runner.allowed.release()
    runner.wait_for_step()
    runner.finish_encodings(scheduler)
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows == [1, 1, 31]

    scored, generated = Job([Scoring([5, 6, 1], trie([5, 6, 1], [7, 1]))]), job(5)
    runner.hold_encodings()
    scheduler.submit(scored)
    scheduler.submit(generated)
    runner.allowed.release()
    runner.wait_for_step()
    runner.finish_encodings(scheduler)
    runner.allowed.release(2)  # this step, and that of the scored label
    scored.future.result(TIMEOUT)
    assert scored.steps == 1
    runner.allowed.release(5)
    generated.future.result(TIMEOUT)
    assert generated.steps == len(generated.rows[0].tokens) <= 5
    assert runner.rows[3:5] == [31, 1]
    assert runner.rows[5:][: generated.steps] == [32] * generated.steps

    runner.release()
    for rationale in rationales:
        rationale.future.result(TIMEOUT)
        assert rationale.steps == len(rationale.rows[0].tokens)
    scheduler.close()


def test_a_newcomer_is_encoded_beside_a_step(scheduler: Scheduler, runner: SteppedRunner) -> None:
    scheduler.submit(job(3))
    runner.wait_for_step()
    runner.hold_encodings()
    scheduler.submit(job(3))
    runner.allowed.release()
    runner.wait_for_step()  # and it is not over before the newcomer is encoded:
    runner.finish_encodings(scheduler)
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows == [1, 1, 2]


@pytest.mark.parametrize("tokens", [ENCODED_TOKENS // 2, ENCODED_TOKENS * 2])
def test_the_first_step_does_not_wait_for_many_prompts(
    scheduler: Scheduler, runner: SteppedRunner, tokens: int
) -> None:
    """But it does for as many as ENCODED_TOKENS, or for one."""
    awaited = max(1, ENCODED_TOKENS // tokens)
    runner.hold_encodings(after=awaited)
    three = job(4, 4, 4, prompt=(*[5] * (tokens - 1), 1))
    scheduler.submit(three)
    runner.wait_for_step()
    assert runner.rows == [awaited]
    runner.finish_encodings(scheduler)
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows[-1] == 3
    runner.release()
    three.future.result(TIMEOUT)


def test_jobs_cancelled_while_they_wait_are_forgotten(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    scheduler.submit(job(48, 48, 48))
    runner.wait_for_step()
    gone = [job(2) for _ in range(100)]
    for each in gone:
        scheduler.submit(each)
        each.future.cancel()
    runner.allowed.release()
    runner.wait_for_step()
    assert not any(pool.waiting for pool in scheduler._pools.values())


def test_the_prompts_of_a_cancelled_job_are_not_encoded_for_nobody(
    scheduler: Scheduler, runner: SteppedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, encode = SimpleQueue[list[int]](), runner.encode

    def record(ids: list[int]) -> dict[str, np.ndarray]:
        begun.put(ids)
        return encode(ids)

    monkeypatch.setattr(runner, "encode", record)
    stays, gone = job(4), Job([Generation([5, 7 + i, 1], 4) for i in range(2)])
    scheduler.submit(stays)
    runner.wait_for_step()
    assert begun.get(timeout=TIMEOUT) == [5, 6, 1]
    runner.hold_encodings()
    scheduler.submit(gone)
    runner.allowed.release()
    runner.wait_for_step()  # beside it the first of two prompts is encoded
    assert begun.get(timeout=TIMEOUT) == [5, 7, 1]
    gone.future.cancel()
    runner.allowed.release()
    runner.wait_for_step()
    runner.finish_encodings(scheduler)
    runner.release()
    stays.future.result(TIMEOUT)
    last = job(1)
    scheduler.submit(last)
    last.future.result(TIMEOUT)
    assert begun.get(timeout=TIMEOUT) == [5, 6, 1]
    assert begun.empty()


def test_an_input_that_cannot_be_encoded_fails_alone(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    good, bad = job(3), job(3, 3, prompt=())
    scheduler.submit(good)
    scheduler.submit(bad)
    runner.allowed.release(10)
    with pytest.raises(EngineUnavailable, match="at this input"):
        bad.future.result(TIMEOUT)
    assert len(good.future.result(TIMEOUT).rows[0].tokens) == 3


def test_close_fails_what_is_not_finished(scheduler: Scheduler, runner: SteppedRunner) -> None:
    running, waiting = job(9, 9, 9), job(9)
    scheduler.submit(running)
    runner.wait_for_step()
    scheduler.submit(waiting)
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    runner.allowed.release(10)
    closing.join(TIMEOUT)
    for unfinished in (running, waiting):
        with pytest.raises(EngineUnavailable, match="stopped"):
            unfinished.future.result(TIMEOUT)
    assert not scheduler.alive
    with pytest.raises(EngineUnavailable, match="stopped"):
        scheduler.submit(job(1))


def test_a_dying_thread_leaves_nobody_waiting(scheduler: Scheduler, runner: SteppedRunner) -> None:
    running, waiting = job(9, 9, 9), job(9)
    scheduler.submit(running)
    runner.wait_for_step()
    scheduler.submit(waiting)
    runner.fault = SystemExit()  # not an Exception: nothing that a step could survive
    runner.allowed.release()
    for unfinished in (running, waiting):
        with pytest.raises(EngineUnavailable, match="stopped"):
            unfinished.future.result(TIMEOUT)
    with pytest.raises(EngineUnavailable, match="stopped"):
        scheduler.submit(job(1))
