"""The scheduler: continuous batching (Orca: Yu et al., 2022) on a thread of its own."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from service.engine.runner import Runner
from service.engine.slots import Slots
from service.errors import EngineUnavailable

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Sequence:
    """One text, generated greedily after a prompt until the end token or `max_tokens`."""

    prompt: list[int]
    max_tokens: int
    job: "Job" = field(init=False)
    tokens: list[int] = field(default_factory=list)  # the end token included
    logprob: float = 0.0  # of all tokens together


class Job:
    """The sequences of one request. Its future gives the job itself, once all are generated."""

    def __init__(self, sequences: list[Sequence]) -> None:
        self.sequences = sequences
        self.unfinished = len(sequences)
        self.future: Future[Job] = Future()
        self.submitted = self.admitted = self.finished = time.perf_counter()  # seconds
        for sequence in sequences:
            sequence.job = self

    def resolve(self, error: Exception | None = None) -> None:
        """Hands out the result, unless the job is over or its future cancelled."""
        if self.future.done() or not self.future.set_running_or_notify_cancel():
            return
        self.finished = time.perf_counter()
        if error is None:
            self.future.set_result(self)
        else:
            self.future.set_exception(error)


class Scheduler:
    """Lets sequences into slots as soon as there is room, and steps all of them together.

    Sequences join and leave between steps, first come first served. Those of a job whose future
    is cancelled leave before the next step.
    """

    def __init__(self, runner: Runner, *, max_rows: int, start_id: int, eos_id: int) -> None:
        self._runner = runner
        self._eos_id = eos_id
        self._slots = Slots(runner.specs, max_rows, start_id)
        self._running: list[Sequence] = []  # by row
        self._waiting: deque[Sequence] = deque()
        self._inbox: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._submitting = threading.Lock()  # so that nothing is submitted after the last look
        self._thread = threading.Thread(target=self._run, name="duet-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, job: Job) -> None:
        """Raises EngineUnavailable once the scheduler has stopped."""
        with self._submitting:
            if self._closed:
                raise EngineUnavailable("the engine has stopped")
            self._inbox.put(job)

    def close(self) -> None:
        """Stops before the next step. Jobs that are not finished fail with EngineUnavailable."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._receive():
                self._drop_abandoned()
                self._admit()
                if self._running:
                    self._step()
        except BaseException:
            logger.critical("the engine's thread dies", exc_info=True)
        finally:
            with self._submitting:
                self._closed = True
            while not self._inbox.empty():
                if job := self._inbox.get():
                    self._waiting.extend(job.sequences)
            self._fail([*self._running, *self._waiting], "the engine has stopped")

    def _receive(self) -> bool:
        """Takes in what was submitted; waits where there is nothing to do. False: it is over."""
        while True:
            idle = not self._running and not self._waiting
            try:
                job = self._inbox.get(block=idle)
            except Empty:
                return True
            if job is None:
                return False
            self._waiting.extend(job.sequences)

    def _drop_abandoned(self) -> None:
        for row in reversed(range(len(self._running))):
            if self._running[row].job.future.done():  # cancelled, or failed with another sequence
                self._leave(row)

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._slots.capacity:
            sequence = self._waiting.popleft()
            if sequence.job.future.done():
                continue
            if sequence is sequence.job.sequences[0]:
                sequence.job.admitted = time.perf_counter()
            try:
                self._slots.add(self._runner.encode(sequence.prompt))
            except Exception:
                logger.exception("the encoder failed")
                self._fail([sequence], "the model failed at this input")
            else:
                self._running.append(sequence)

    def _step(self) -> None:
        try:
            next_ids, logprobs = self._runner.step(self._slots)
        except Exception:
            logger.exception("the decoder failed, and with it %d texts", len(self._running))
            self._fail(self._running, "the model failed at a step; send the request again")
            self._running.clear()
            self._slots.clear()
            return
        for row in reversed(range(len(self._running))):  # as a row that leaves moves a later one
            sequence = self._running[row]
            sequence.tokens.append(int(next_ids[row]))
            sequence.logprob += float(logprobs[row])
            if sequence.tokens[-1] == self._eos_id or len(sequence.tokens) == sequence.max_tokens:
                self._leave(row)
                sequence.job.unfinished -= 1
                if not sequence.job.unfinished:
                    sequence.job.resolve()

    def _leave(self, row: int) -> None:
        self._slots.remove(row)
        last = self._running.pop()
        if row < len(self._running):
            self._running[row] = last

    @staticmethod
    def _fail(sequences: Iterable[Sequence], message: str) -> None:
        for sequence in sequences:
            sequence.job.resolve(EngineUnavailable(message))
