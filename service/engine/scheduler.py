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

# An idle engine encodes prompts of up to this many tokens before its first step. Sequences then
# share more steps. A T5-small takes 45 ms for this many tokens, on two cores.
ENCODED_TOKENS = 512
MAX_FAILURES = 3  # failures in a row after which the runtime counts as broken
RETRY_SECONDS = 10.0  # after which requests may try a broken runtime again
STUCK_SECONDS = 60.0  # a step takes milliseconds
CLOSE_SECONDS = 10.0  # to wait for the current step

logger = logging.getLogger(__name__)


class Scheduler:
    """Gives sequences slots as soon as there is room, and takes steps of all sequences together.

    Sequences join and leave between steps. If a request's future is cancelled, its sequences leave
    before the next step. Texts take narrow steps, label sets wide ones, unless sharing is faster
    (see `_shares`). Narrow and wide steps alternate. Other threads encode the prompts of new
    sequences, so that nobody waits for them. Several matrix products at once also use the cores
    better than one product in parts.
    """

    def __init__(self, runner: Runner, *, max_rows: int) -> None:
        self._runner = runner
        self._wide = Pool(runner, max_rows)
        self._narrow = Pool(runner, max_rows)
        self._pools = [self._wide, self._narrow]
        self._inbox: SimpleQueue[EngineRequest | None] = SimpleQueue()
        self._closed = False
        self._busy_since: float | None = None  # in seconds of the monotonic clock
        self._submitting = threading.Lock()  # nothing is submitted after `_closed`
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
        """Whether the runtime has failed MAX_FAILURES times in a row, the last time just now.

        Requests that still come are tried. One successful step ends this state.
        """
        return any(
            pool.failures >= MAX_FAILURES and time.monotonic() - pool.failed_at < RETRY_SECONDS
            for pool in self._pools
        )

    @property
    def slots(self) -> int:
        """The number of sequences that may be computed at once."""
        return sum(pool.capacity for pool in self._pools)

    @property
    def slots_in_use(self) -> int:
        return sum(len(pool.running) for pool in self._pools)

    @property
    def steps(self) -> int:
        """The number of steps taken. A step is of all sequences of one pool."""
        return sum(pool.steps for pool in self._pools)

    def submit(self, request: EngineRequest) -> None:
        """Queues the request's sequences. Raises EngineUnavailable if the engine has stopped."""
        request.submitted = request.admitted = time.perf_counter()
        with self._submitting:
            if self._closed:
                raise EngineUnavailable("the engine has stopped")
            self._inbox.put(request)

    def close(self) -> None:
        """Stops before the next step. Open requests fail with EngineUnavailable.

        Does not wait longer than CLOSE_SECONDS for a step.
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
            logger.critical("the engine's thread has failed", exc_info=True)
        finally:
            with self._submitting:
                self._closed = True
            while not self._inbox.empty():
                if request := self._inbox.get():
                    self._enqueue(request)
            for pool in pools:
                pool.stop("the engine has stopped")
            encoder.shutdown(wait=False, cancel_futures=True)
            # frees the model's memory, even if somebody still holds the scheduler
            self._pools = []
            del self._runner, self._wide, self._narrow

    def _encode_newcomers(self, encoder: Executor) -> None:
        """Starts encoding the prompts that have waited longest, while there are free slots."""
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

        A wide sequence makes every text in its step as wide, but saves a step of its own. So it
        shares if the texts' extra tokens cost less than a step: a few labels beside one text, or
        two labels of one token beside two texts. A T5-small in int8 took 2.9 ms for 9 nodes beside
        a text, and 2.2 + 1.5 ms in two steps. In all other cases separate steps are faster for
        both. To share, a sequence needs a slot that no text waits for.
        """
        if sequence.width == 1:
            return True
        texts = sum(running.width == 1 for running in self._narrow.running)
        pays = 0 < texts * (sequence.width - 1) <= STEP_COST
        return pays and self._narrow.room > 0

    def _receive(self) -> bool:
        """Queues submitted requests; waits for one if idle. False if the engine must stop."""
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
