"""A runner whose steps a test allows one by one."""

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from export import verify
from export.verify import Bundle
from service.engine.engine import Engine
from service.engine.onnx_runner import OnnxRunner
from service.engine.runner import StepInput, StepOutput
from service.engine.scheduler import Scheduler
from service.engine.sequence import EngineRequest
from service.engine.slots import Array, Slots
from service.engine.text_sequence import TextSequence

TIMEOUT = 60  # seconds; reached only where something hangs


class SteppedRunner(OnnxRunner):
    """The real runner, but each step waits until the test allows it, and can be made to fail."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        super().__init__(bundle, threads)
        self.allowed = threading.Semaphore(0)
        self.rows: list[int] = []  # slots in use, at each step
        self.tokens: list[int] = []  # new ones, of all rows and with padding, at each step
        self.width = 0  # most cache entries that a step had
        self.may_encode = threading.Semaphore(10_000)
        self.entered = threading.Semaphore(0)
        self.fault: BaseException | None = None

    def encode(self, ids: list[int]) -> dict[str, Array]:
        if not ids:
            raise RuntimeError("nothing to encode")
        assert self.may_encode.acquire(timeout=TIMEOUT)
        return super().encode(ids)

    def step(self, slots: Slots, new: StepInput) -> StepOutput:
        self.rows.append(slots.count)
        self.tokens.append(new.input_ids.size)
        self.width = max(self.width, slots.width)
        self.entered.release()
        assert self.allowed.acquire(timeout=TIMEOUT)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return super().step(slots, new)

    def release(self) -> None:
        """Allows all further steps."""
        self.allowed.release(10_000)

    def hold_encodings(self, *, after: int = 0) -> None:
        """Allows only that many further prompts to be encoded."""
        self.may_encode = threading.Semaphore(after)

    def finish_encodings(self, scheduler: Scheduler) -> None:
        """Finishes the encodings that began before the step that waits now."""
        self.may_encode.release(10_000)
        encodings = [each for pool in scheduler._pools for _, each in pool.encoding]
        assert not wait(encodings, TIMEOUT).not_done

    def wait_for_step(self) -> None:
        assert self.entered.acquire(timeout=TIMEOUT)


@pytest.fixture
def runner(tiny_bundle: Path) -> SteppedRunner:
    return SteppedRunner(verify.read(tiny_bundle), threads=1)


@pytest.fixture
def scheduler(runner: SteppedRunner) -> Iterator[Scheduler]:
    """A scheduler with three slots of each kind, whose steps the test allows."""
    scheduler = Scheduler(runner, max_rows=3)
    yield scheduler
    runner.release()
    scheduler.close()


def writing(*max_tokens: int, prompt: tuple[int, ...] = (5, 6, 1)) -> EngineRequest:
    """A request for one text for each of `max_tokens`, after the same prompt."""
    return EngineRequest([TextSequence(list(prompt), limit) for limit in max_tokens])


@contextmanager
def stepped_engine_of(runner: SteppedRunner, folder: Path, **options: Any) -> Iterator[Engine]:
    """An engine of that bundle, with few rows, whose steps `runner` allows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxRunner, "on", lambda *_: runner)
        engine = Engine(verify.read(folder), threads=1, max_rows=3, **options)
    yield engine
    runner.release()
    engine.close()
