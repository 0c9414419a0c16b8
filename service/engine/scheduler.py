"""The scheduler: continuous batching (Orca: Yu et al., 2022) on a thread of its own."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from service.engine.generation import Generation, generate_step
from service.engine.job import Job, Row
from service.engine.labels import Scoring, score_step
from service.engine.runner import Runner
from service.engine.slots import Array, Slots
from service.errors import EngineUnavailable

# Tokens of prompts that are encoded before a first step, where nothing else is in work: then rows
# need fewer steps in all. A T5-small takes 45 ms for as many, on two cores.
ENCODED_TOKENS = 512
MAX_FAILURES = 3  # of the runtime, one after the other, until it counts as broken
RETRY_SECONDS = 10.0  # after which a broken runtime is worth another try
STUCK_SECONDS = 60.0  # for what takes milliseconds
CLOSE_SECONDS = 10.0  # to wait for the step in hand

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Row)


class Pool(Generic[R]):
    """Rows of one kind in their slots, and those that wait for one, first come first served."""

    def __init__(
        self, runner: Runner, capacity: int, step: Callable[[Runner, Slots, Sequence[R]], None]
    ) -> None:
        self.capacity = capacity
        self._runner = runner
        self._step = step
        self._slots = runner.new_slots(capacity)
        self.waiting: deque[R] = deque()
        self.encoding: deque[tuple[R, Future[Mapping[str, Array]]]] = deque()
        self.running: list[R] = []  # by slot
        self.steps = 0  # that went well
        self.failures = 0  # of the runtime, since the last step that went well
        self.failed_at = 0.0  # in seconds of the monotonic clock

    def drop_abandoned(self) -> None:
        """Lets go of rows whose job was cancelled, or failed with another row."""
        self._drop(abandoned)
        for row, encoding in self.encoding:
            if abandoned(row):
                encoding.cancel()  # unless it has begun
        if any(map(abandoned, self.waiting)):
            self.waiting = deque(row for row in self.waiting if not abandoned(row))

    @property
    def room(self) -> int:
        """Slots for rows that wait."""
        return self.capacity - len(self.running) - len(self.encoding)

    def admit_encoded(self) -> None:
        """Gives slots to rows whose cross keys and values are there, and who can take a step."""
        encoding_rows, self.encoding = self.encoding, deque()
        for row, encoding in encoding_rows:
            if not encoding.done() or not (row.ready or abandoned(row)):
                self.encoding.append((row, encoding))
                continue
            if abandoned(row):
                continue
            try:
                cross = encoding.result()
            except Exception:
                self._fail([row], "the model failed at this input")
            else:
                self._slots.add(cross)
                self.running.append(row)

    def step(self) -> None:
        """Takes a step of all rows together, and lets go of those that are done."""
        jobs = {row.job for row in self.running}
        for job in jobs:
            job.steps += 1
        try:
            self._step(self._runner, self._slots, self.running)
        except Exception:
            self._fail(self.running, "the model failed at a step; send the request again")
            self.running.clear()
            self._slots.clear()
            return
        self.failures = 0
        self.steps += 1
        for row in self._drop(lambda row: row.done):
            row.finished = time.perf_counter()
            row.job.unfinished -= 1
            if not row.job.unfinished:
                row.job.resolve()
        for job in jobs:
            if job.listener is not None:
                job.listener()

    def _fail(self, rows: Sequence[R], message: str) -> None:
        """The runtime has raised an exception."""
        logger.exception("the model failed, and with it %d rows", len(rows))
        self.failures += 1
        self.failed_at = time.monotonic()
        fail(rows, message)

    def _drop(self, leaves: Callable[[R], bool]) -> list[R]:
        dropped: list[R] = []
        for slot in reversed(range(len(self.running))):  # as a row that leaves moves the last one
            if leaves(self.running[slot]):
                self._slots.remove(slot)
                dropped.append(self.running[slot])
                last = self.running.pop()
                if slot < len(self.running):
                    self.running[slot] = last
        return dropped


def abandoned(row: Row) -> bool:
    return row.job.future.done()


def fail(rows: Iterable[Row], message: str) -> None:
    for row in rows:
        row.job.resolve(EngineUnavailable(message))


class Scheduler:
    """Lets rows into slots as soon as there is room, and steps all of a kind together.

    Rows join and leave between steps. Those of a job whose future is cancelled leave before the
    next step. Labels to score and texts to generate take turns, a step each. Meanwhile other
    threads encode the prompts of newcomers: so these hold nobody up, and several products at once
    keep the cores busier than the parts of one.
    """

    def __init__(self, runner: Runner, *, max_rows: int) -> None:
        self._runner = runner
        self._pools: dict[type[Row], Pool[Any]] = {
            Scoring: Pool(runner, max_rows, score_step),
            Generation: Pool(runner, max_rows, generate_step),
        }
        self._inbox: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._busy_since: float | None = None  # in seconds of the monotonic clock
        self._submitting = threading.Lock()  # so that nothing is submitted after the last look
        self._thread = threading.Thread(target=self._run, name="duet-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs, and is not stuck in a step."""
        busy_since = self._busy_since
        stuck = busy_since is not None and time.monotonic() - busy_since >= STUCK_SECONDS
        return self._thread.is_alive() and not stuck

    @property
    def broken(self) -> bool:
        """Whether the runtime has failed so often that no request should come now.

        Those that come are tried nevertheless, and one step that goes well ends it.
        """
        return any(
            pool.failures >= MAX_FAILURES and time.monotonic() - pool.failed_at < RETRY_SECONDS
            for pool in self._pools.values()
        )

    @property
    def slots(self) -> int:
        """Rows of all kinds that may be in work at once."""
        return sum(pool.capacity for pool in self._pools.values())

    @property
    def slots_in_use(self) -> int:
        return sum(len(pool.running) for pool in self._pools.values())

    @property
    def steps(self) -> int:
        """Steps that were taken, of all rows of a kind together."""
        return sum(pool.steps for pool in self._pools.values())

    def submit(self, job: Job) -> None:
        """Raises EngineUnavailable once the scheduler has stopped."""
        with self._submitting:
            if self._closed:
                raise EngineUnavailable("the engine has stopped")
            self._inbox.put(job)

    def close(self) -> None:
        """Stops before the next step. Jobs that are not finished fail with EngineUnavailable.

        A thread that is stuck in a step is left behind.
        """
        self._inbox.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        pools = self._pools.values()
        encoder = ThreadPoolExecutor(self._runner.encoders, "duet-encoder")
        try:
            while self._receive():
                for pool in pools:
                    pool.drop_abandoned()
                self._encode_newcomers(encoder)
                for pool in pools:
                    pool.admit_encoded()
                running = [pool for pool in pools if pool.running]
                for pool in running:
                    pool.step()
                if not running:
                    encodings = [encoding for pool in pools for _, encoding in pool.encoding]
                    unfinished = [encoding for encoding in encodings if not encoding.done()]
                    wait(unfinished, return_when=FIRST_COMPLETED)
        except BaseException:
            logger.critical("the engine's thread dies", exc_info=True)
        finally:
            with self._submitting:
                self._closed = True
            while not self._inbox.empty():
                if job := self._inbox.get():
                    self._enqueue(job)
            for pool in pools:
                encoding = [row for row, _ in pool.encoding]
                fail([*pool.running, *encoding, *pool.waiting], "the engine has stopped")
            encoder.shutdown(wait=False, cancel_futures=True)
            self._pools = {}  # so that the model's memory is free, whoever holds the scheduler
            del self._runner

    def _encode_newcomers(self, encoder: Executor) -> None:
        """Has those who have waited longest encoded, as far as there are slots for them."""
        pools = self._pools.values()
        idle = not any(pool.running or pool.encoding for pool in pools)
        tokens, awaited = 0, []
        while waiting := [pool for pool in pools if pool.waiting and pool.room]:
            pool = min(waiting, key=lambda pool: pool.waiting[0].job.submitted)
            row = pool.waiting.popleft()
            if row is row.job.rows[0]:
                row.job.admitted = time.perf_counter()
            tokens += len(row.prompt)
            encoding: Future[Mapping[str, Array]]
            encoding = encoder.submit(self._runner.encode, row.prompt)
            pool.encoding.append((row, encoding))
            if idle and tokens <= max(ENCODED_TOKENS, len(row.prompt)):
                awaited.append(encoding)
        wait(awaited)

    def _receive(self) -> bool:
        """Takes in what was submitted; waits where there is nothing to do. False: it is over."""
        while True:
            idle = not any(
                pool.waiting or pool.encoding or pool.running for pool in self._pools.values()
            )
            self._busy_since = None if idle else time.monotonic()
            try:
                job = self._inbox.get(block=idle)
            except Empty:
                return True
            if job is None:
                return False
            self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        for row in job.rows:
            self._pools[type(row)].waiting.append(row)
