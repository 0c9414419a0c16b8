"""Streams that end early. Each test is of both clients."""

import pytest
from fastapi import FastAPI

from duet.client import Client, DuetError, Label
from tests.support.bundles import reference
from tests.support.server_process import admission_of, wait_until
from tests.support.stepped_runner import SteppedRunner
from tests.support.tiny_students import Student, problems

TEXTS = problems(1)


def test_a_failure_in_a_stream(stepped: Client, runner: SteppedRunner, student: Student) -> None:
    events = stepped.stream(TEXTS[0], explain=True)
    runner.allowed.release(len(reference(student, TEXTS[0]).label.tokens))
    assert isinstance(next(events), Label)
    runner.fault = RuntimeError("out of memory")
    runner.release()
    with pytest.raises(DuetError) as raised:
        list(events)
    assert (raised.value.status, raised.value.error_type) == (None, "unavailable")


def test_who_leaves_a_stream_ends_the_work(
    stepped: Client, stepped_app: FastAPI, runner: SteppedRunner, student: Student
) -> None:
    label, rationale = reference(student, TEXTS[0])
    assert len(label.tokens) < len(rationale.tokens)
    runner.allowed.release(len(label.tokens))
    for event in stepped.stream(TEXTS[0], explain=True):
        assert isinstance(event, Label)
        break
    wait_until(lambda: not admission_of(stepped_app).inputs)  # the server has noticed
    runner.release()
    assert stepped.predict(TEXTS[0]).label == label.text
    # the rationale was in one step more at most, the one that it left in
    assert runner.rows.count(2) == len(label.tokens)
    assert len(runner.rows) <= 2 * len(label.tokens) + 1
