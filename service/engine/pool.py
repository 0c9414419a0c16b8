"""Pools: sequences that take their steps together, and sequences that wait for a slot."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future

from service.engine.runner import Runner
from service.engine.sequence import Sequence
from service.engine.slots import Array
from service.engine.step import take_step
from service.errors import EngineUnavailable

logger = logging.getLogger(__name__)

Encoding = Future[Mapping[str, Array]]  # the cross keys and values of a prompt, by name


class Pool:
    """At most `capacity` sequences in slots. The others wait, first come first served."""

    def __init__(self, runner: Runner, capacity: int) -> None:
        self.capacity = capacity
        self._runner = runner
        self._slots = runner.new_slots(capacity)
        self.waiting: deque[Sequence] = deque()
        self.encoding: deque[tuple[Sequence, Encoding]] = deque()
        self.running: list[Sequence] = []  # by slot
        self.steps = 0  # successful ones
        self.failures = 0  # of the runtime, since the last successful step
        self.failed_at = 0.0  # in seconds of the monotonic clock

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.encoding or self.running)

    @property
    def room(self) -> int:
        """The number of slots for sequences that wait."""
        return self.capacity - len(self.running) - len(self.encoding)

    def drop_abandoned(self) -> None:
        """Removes sequences whose request is over."""
        self._drop(lambda sequence: sequence.request.over)
        for sequence, encoding in self.encoding:
            if sequence.request.over:
                encoding.cancel()  # unless it has begun
        if any(sequence.request.over for sequence in self.waiting):
            self.waiting = deque(each for each in self.waiting if not each.request.over)

    def take_encoded(self) -> Iterator[tuple[Sequence, Mapping[str, Array]]]:
        """Yields the sequences that can take a step, with the encoding of their prompt."""
        for _ in range(len(self.encoding)):
            sequence, encoding = self.encoding.popleft()
            over = sequence.request.over
            if not encoding.done() or not (sequence.ready or over):
                self.encoding.append((sequence, encoding))
            elif not over:
                try:
                    cross = encoding.result()
                except Exception:
                    self._fail([sequence], "the model failed at this input")
                else:
                    yield sequence, cross

    def admit(self, sequence: Sequence, cross: Mapping[str, Array]) -> None:
        """Gives the sequence a slot."""
        self.running.append(sequence)
        self._slots.add(cross)

    def step(self) -> None:
        """Takes a step of all sequences in slots. Removes the sequences that are done."""
        requests = {sequence.request for sequence in self.running}
        for request in requests:
            request.steps += 1
        try:
            take_step(self._runner, self._slots, self.running)
        except Exception:
            self._fail(self.running, "the model failed at a step; send the request again")
            self.running.clear()
            self._slots.clear()
            return
        self.failures = 0
        self.steps += 1
        for sequence in self._drop(lambda sequence: sequence.done):
            sequence.finished = time.perf_counter()
            sequence.request.unfinished -= 1
            if not sequence.request.unfinished:
                sequence.request.resolve()
        for request in requests:
            if request.listener is not None:
                request.listener()

    def stop(self, message: str) -> None:
        """Fails the requests of all sequences with EngineUnavailable."""
        encoding = (sequence for sequence, _ in self.encoding)
        for sequence in (*self.running, *encoding, *self.waiting):
            sequence.request.resolve(EngineUnavailable(message))

    def _fail(self, sequences: list[Sequence], message: str) -> None:
        """Fails the requests of these sequences, because the runtime raised an exception."""
        logger.exception("the model failed; %d sequences fail with it", len(sequences))
        self.failures += 1
        self.failed_at = time.monotonic()
        for sequence in sequences:
            sequence.request.resolve(EngineUnavailable(message))

    def _drop(self, leaves: Callable[[Sequence], bool]) -> list[Sequence]:
        dropped: list[Sequence] = []
        for slot in reversed(range(len(self.running))):  # backwards: removing moves the last
            if leaves(self.running[slot]):
                self._slots.remove(slot)
                dropped.append(self.running[slot])
                last = self.running.pop()
                if slot < len(self.running):
                    self.running[slot] = last
        return dropped
