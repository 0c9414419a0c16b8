"""The scheduler: continuous batching (Orca: Yu et al., 2022) on a thread of its own."""

import logging
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Executor, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue

from service.engine.pool import Pool
from service.engine.runner import Runner
from service.engine.sequence import EngineRequest, Sequence
from service.engine.step import STEP_COST
from service.errors import EngineUnavailable

# Tokens of prompts that are encoded before a first step, where nothing else is in work: then
# sequences need fewer steps in all. A T5-small takes 45 ms for as many, on two cores.
ENCODED_TOKENS = 512
MAX_FAILURES = 3  # of the runtime, one after the other, until it counts as broken
RETRY_SECONDS = 10.0  # after which a broken runtime is worth another try
STUCK_SECONDS = 60.0  # for what takes milliseconds
CLOSE_SECONDS = 10.0  # to wait for the step in hand

logger = logging.getLogger(__name__)


class Scheduler:
    """Lets sequences into slots as soon as there is room, and takes steps of all together.

    Sequences join and leave between steps. Those of a request whose future is cancelled leave
    before the next step. Texts take narrow steps, and label sets wide ones, unless it pays that
    they share (see `_shares`); narrow and wide steps take turns. Meanwhile other threads encode the
    prompts of newcomers, so that these hold nobody up. Several products at once also keep the cores
    busier than the parts of one.
    """

    def __init__(self, runner: Runner, *, max_rows: int) -> None:
        self._runner = runner
        self._wide = Pool(runner, max_rows)
        self._narrow = Pool(runner, max_rows)
        self._pools = [self._wide, self._narrow]
        self._inbox: SimpleQueue[EngineRequest | None] = SimpleQueue()
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
            for pool in self._pools
        )

    @property
    def slots(self) -> int:
        """Sequences that may be in work at once."""
        return sum(pool.capacity for pool in self._pools)

    @property
    def slots_in_use(self) -> int:
        return sum(len(pool.running) for pool in self._pools)

    @property
    def steps(self) -> int:
        """Steps that were taken, each of all the sequences of a pool."""
        return sum(pool.steps for pool in self._pools)

    def submit(self, request: EngineRequest) -> None:
        """Has the request's sequences computed. Raises EngineUnavailable after the end."""
        request.submitted = request.admitted = time.perf_counter()
        with self._submitting:
            if self._closed:
                raise EngineUnavailable("the engine has stopped")
            self._inbox.put(request)

    def close(self) -> None:
        """Stops before the next step. Requests that are not over fail with EngineUnavailable.

        A thread that is stuck in a step is left behind.
        """
        self._inbox.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        pools = self._pools
        encoder = ThreadPoolExecutor(self._runner.encoders, "duet-encoder")
        try:
            while self._receive():
                for pool in pools:
                    pool.drop_abandoned()
                self._encode_newcomers(encoder)
                self._admit_encoded()
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
                if request := self._inbox.get():
                    self._enqueue(request)
            for pool in pools:
                pool.stop("the engine has stopped")
            encoder.shutdown(wait=False, cancel_futures=True)
            # frees the model's memory, even while something still holds the scheduler
            self._pools = []
            del self._runner, self._wide, self._narrow

    def _encode_newcomers(self, encoder: Executor) -> None:
        """Has those that have waited longest encoded, as far as there are slots for them."""
        idle = not any(pool.running or pool.encoding for pool in self._pools)
        tokens, awaited = 0, []
        while waiting := [pool for pool in self._pools if pool.waiting and pool.room]:
            pool = min(waiting, key=lambda pool: pool.waiting[0].request.submitted)
            sequence = pool.waiting.popleft()
            if sequence is sequence.request.sequences[0]:
                sequence.request.admitted = time.perf_counter()
            tokens += len(sequence.prompt)
            encoding = encoder.submit(self._runner.encode, sequence.prompt)
            pool.encoding.append((sequence, encoding))
            if idle and tokens <= max(ENCODED_TOKENS, len(sequence.prompt)):
                awaited.append(encoding)
        wait(awaited)

    def _admit_encoded(self) -> None:
        """Gives slots to sequences that can take a step, texts first."""
        for pool in (self._narrow, self._wide):
            for sequence, cross in pool.take_encoded():
                (self._narrow if self._shares(sequence) else self._wide).admit(sequence, cross)

    def _shares(self, sequence: Sequence) -> bool:
        """Whether the sequence takes part in the steps of texts.

        A wide sequence makes every text in its step pay for its width, and saves a step of its own.
        So it shares where the texts pay less than a step costs: a few labels beside one text, or
        two labels of one token each beside two. A T5-small in int8 took 2.9 ms for 9 nodes beside a
        text, and 2.2 + 1.5 ms in two steps. Everything else is faster with steps of its own, for
        the label as for the texts. A sequence that shares needs a slot that no text waits for.
        """
        if sequence.width == 1:
            return True
        texts = sum(running.width == 1 for running in self._narrow.running)
        pays = 0 < texts * (sequence.width - 1) <= STEP_COST
        return pays and self._narrow.room > 0

    def _receive(self) -> bool:
        """Takes in what was submitted; waits where there is nothing to do. False: it is over."""
        while True:
            idle = all(pool.idle for pool in self._pools)
            self._busy_since = None if idle else time.monotonic()
            try:
                request = self._inbox.get(block=idle)
            except Empty:
                return True
            if request is None:
                return False
            self._enqueue(request)

    def _enqueue(self, request: EngineRequest) -> None:
        for sequence in request.sequences:
            pool = self._narrow if sequence.width == 1 else self._wide
            pool.waiting.append(sequence)
