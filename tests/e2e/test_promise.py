"""The promise: neither neighbours, order, load nor drafts change an answer, not by a single bit.

Each request is answered alone first, by an engine that does not speculate, and then again among
others by engines that do and engines that do not. DUET_TEST_REQUESTS says how many are sent so.
"""

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from export.bundle import DRAFT, Limits, Precision
from export.ngrams import write_draft_table
from export.verify import seal
from service.engine.engine import Engine
from service.engine.onnx_runner import OnnxRunner
from service.engine.prediction import Prediction, PredictRequest, Timings
from service.engine.runner import StepInput, StepOutput
from service.engine.slots import Slots
from tasks.task import LabelField, Task
from tests.support.bundles import TASK, write_bundle
from tests.support.tiny_students import Student, learned_student, problems, tiny_student

REQUESTS = int(os.environ.get("DUET_TEST_REQUESTS", 2000))
LIMITS = Limits(input_tokens=200, label_tokens=16, rationale_tokens=64)

# Random students are the hard case for equality, as their two best tokens are often near; one that
# has learned its answers is the hard case for drafts, as most of these are right.
STUDENTS: dict[str, Callable[[], Student]] = {
    "v1_0": lambda: tiny_student("v1_0", seed=7),
    "v1_1": lambda: tiny_student("v1_1", seed=4, d_model=36, d_kv=5, d_ff=50, num_heads=3),
    "learned": learned_student,
}
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
TASKS = ("open", "closed", "choices")


class Load(NamedTuple):
    """How an engine is set up, and how many requests are under way in it at once."""

    speculate: bool
    max_rows: int
    concurrency: int


LOADS = (Load(False, 9, 30), Load(True, 1, 3), Load(True, 4, 5), Load(True, 16, 1000))
DISTINCT = -(-REQUESTS // (len(STUDENTS) * len(PRECISIONS) * len(TASKS) * len(LOADS)))


@pytest.fixture(scope="module", params=STUDENTS)
def student(request: pytest.FixtureRequest) -> Student:
    return STUDENTS[request.param]()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_answer_is_the_one_that_its_request_gets_alone(
    student: Student,
    precision: Precision,
    task: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = random.Random(f"{precision} {task}")
    words = single_tokens(student)
    spec, requests = make_requests(task, words, student, rng)
    manifest = write_bundle(
        tmp_path / "bundle", student, precision=precision, task=spec, limits=LIMITS
    )
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=1, speculate=False)
    alone = [asyncio.run(engine.predict(request)) for request in requests]
    engine.close()
    input_tokens = {prediction.usage.input_tokens for prediction in alone}
    assert max(input_tokens) == LIMITS.input_tokens  # the fewest are a word's, beside the prefix
    assert min(input_tokens) == len(student.tokenizer(f"predict: {words[0]}")["input_ids"])

    # every other answer: so drafts from the table are now right and now wrong
    texts = [text for one in alone[::2] for text in (one.label, one.rationale) if text]
    said = [student.tokenizer(text)["input_ids"] for text in texts]
    write_draft_table(tmp_path / "bundle" / DRAFT, said * 2, start_id=0, max_bytes=10**6)
    seal(tmp_path / "bundle", manifest)
    shapes = record_steps(monkeypatch)
    for load in LOADS:
        shapes.clear()
        engine = Engine.load(
            tmp_path / "bundle",
            threads=1,
            max_rows=load.max_rows,
            speculate=load.speculate,
        )
        order = rng.sample(range(len(requests)), len(requests))
        answers = asyncio.run(send(engine, [requests[i] for i in order], load, rng))
        accepted = engine.accepted
        engine.close()
        for i, answer in zip(order, answers, strict=True):
            assert content(answer) == content(alone[i]), f"{requests[i]} under {load}"
        assert (accepted > 0) == load.speculate
        # neighbours there were, though newcomers are let in a few at a time
        assert max(rows for rows, _ in shapes) > min(load.max_rows, len(requests)) // 4


def single_tokens(student: Student) -> list[str]:
    """The words of the problems that are one token each, after another word."""
    words = sorted({word for text in problems(20) for word in text.split()})
    return [word for word in words if len(student.tokenizer(f"has {word}")["input_ids"]) == 3]


def make_requests(
    task: str, words: Sequence[str], student: Student, rng: random.Random
) -> tuple[Task, list[PredictRequest]]:
    """Requests of a task whose inputs have from one token to the most that may be."""
    most = LIMITS.input_tokens - len(student.tokenizer("predict:")["input_ids"])
    known = problems(20)

    def text(i: int) -> str:
        if i % 2:
            return rng.choice(known)
        length = (1, most, rng.randint(2, most))[i // 2 % 3]
        return " ".join(rng.choices(words, k=length))

    def labels(count: int) -> list[str]:
        """Different ones, of which many begin alike, and some are the beginning of others."""
        found: dict[str, None] = {}
        while len(found) < count:
            some = rng.sample(words, 5)
            found[" ".join(rng.choices(some, k=rng.randint(1, 8)))] = None
        return list(found)

    fields = ["text", "choices"] if task == "choices" else ["text"]
    spaces = {
        "open": "open",
        "closed": labels(120),
        "choices": LabelField(field="choices"),
    }
    spec = TASK.model_copy(
        update={
            "fields": fields,
            "labels": spaces[task],
            "answer": "arithmetic" if task == "open" else None,
            "examples": [],
        }
    )
    requests = []
    for i in range(DISTINCT):
        given: dict[str, str | Sequence[str]] = {"text": text(i)}
        if task == "choices":
            count = rng.choice([1, 2, 3, 5, 40, 200])
            # a few labels of one word each share the steps of texts
            some = rng.sample(words, count) if count <= 3 else labels(count)
            given["choices"] = some + rng.choices(some, k=2)  # some of them twice
        explain = rng.random() < 0.6
        requests.append(PredictRequest(given, explain, top_k=rng.choice([None, 1, 3])))
    return spec, requests


def record_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The rows and new tokens of every step to come."""
    shapes: list[tuple[int, ...]] = []
    step = OnnxRunner.step

    def recorded(runner: OnnxRunner, slots: Slots, new: StepInput) -> StepOutput:
        shapes.append(new.input_ids.shape)
        return step(runner, slots, new)

    monkeypatch.setattr(OnnxRunner, "step", recorded)
    return shapes


async def send(
    engine: Engine, requests: Sequence[PredictRequest], load: Load, rng: random.Random
) -> list[Prediction]:
    """The answers, in the requests' order. Now and then another caller comes, and goes early."""
    room = asyncio.Semaphore(load.concurrency)

    async def one(request: PredictRequest, patience: float | None) -> Prediction:
        async with room:
            if patience is not None:
                gone = asyncio.create_task(engine.predict(request))
                await asyncio.wait([gone], timeout=patience)
                gone.cancel()
            return await engine.predict(request)

    patiences = [rng.choice([None, None, None, rng.uniform(0, 0.05)]) for _ in requests]
    return await asyncio.gather(*map(one, requests, patiences))


def content(prediction: Prediction) -> Prediction:
    """All that must be the same: not when, in how many steps, and from which bundle it came."""
    usage = replace(prediction.usage, decoder_steps=0, accepted_tokens=0)
    return replace(prediction, usage=usage, timings=Timings(0, 0, 0, 0, None), model=None)
