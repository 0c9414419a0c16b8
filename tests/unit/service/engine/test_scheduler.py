import threading
from collections.abc import Iterator

import pytest

from service.engine.generation import Generation
from service.engine.job import Job
from service.engine.scheduler import Scheduler
from service.errors import EngineUnavailable
from tests.bundles import reference
from tests.stepped import TIMEOUT, SteppedRunner
from tests.students import Student, problems


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
        assert done.submitted <= done.admitted <= done.finished
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
    scheduler.submit(stays)
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows[-1] == 3
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
