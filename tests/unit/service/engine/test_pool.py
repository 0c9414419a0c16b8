import pytest

from service.engine.scheduler import Scheduler
from service.errors import EngineUnavailable
from tests.support.bundles import reference
from tests.support.stepped_runner import TIMEOUT, SteppedRunner, writing
from tests.support.tiny_students import Student, problems


def test_a_failing_step_fails_what_is_in_flight_and_nothing_else(
    scheduler: Scheduler, runner: SteppedRunner, student: Student
) -> None:
    text = problems(1)[0]
    prompt = tuple(student.tokenizer("predict: " + text)["input_ids"])
    in_flight, waiting = writing(12, 12, 12), writing(12, prompt=prompt)
    scheduler.submit(in_flight)
    runner.wait_for_step()
    scheduler.submit(waiting)
    runner.fault = RuntimeError("the runtime is out of memory")
    runner.release()
    with pytest.raises(EngineUnavailable, match="send the request again"):
        in_flight.future.result(TIMEOUT)
    done = waiting.future.result(TIMEOUT)
    assert done.sequences[0].tokens == reference(student, text).label.tokens
    assert scheduler.alive


def test_one_step_that_goes_well_mends_a_broken_runtime(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    runner.release()
    for _ in range(3):
        assert not scheduler.broken
        failing = writing(3)
        runner.fault = RuntimeError("the runtime is out of memory")
        scheduler.submit(failing)
        with pytest.raises(EngineUnavailable):
            failing.future.result(TIMEOUT)
    assert scheduler.broken
    assert scheduler.alive
    good = writing(3)
    scheduler.submit(good)
    good.future.result(TIMEOUT)
    assert not scheduler.broken


def test_an_input_that_cannot_be_encoded_fails_alone(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    good, bad = writing(3), writing(3, 3, prompt=())
    scheduler.submit(good)
    scheduler.submit(bad)
    runner.allowed.release(10)
    with pytest.raises(EngineUnavailable, match="at this input"):
        bad.future.result(TIMEOUT)
    assert len(good.future.result(TIMEOUT).sequences[0].tokens) == 3
