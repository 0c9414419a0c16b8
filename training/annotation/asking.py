"""Asks about every row, many at a time, until all is answered or something ends it."""

import asyncio
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from training.annotation.budget import Budget, BudgetReached
from training.annotation.dialogue import Dialogue
from training.annotation.endpoint import Endpoint, EndpointError, Unanswered
from training.annotation.journal import Answer, Journal, JournalError
from training.annotation.progress import Progress
from training.data.row import DataError, Row

GIVE_UP = 20  # requests that failed, one after the other, and nobody asks any more

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Ended:
    """How asking ended: `why` it did before all was asked, and what went unanswered, by key."""

    why: Exception | None = None
    signal: int = 0
    unanswered: dict[str, str] = field(default_factory=dict)


@dataclass
class _Open:
    """A row that is asked about, and how many samples are still to come."""

    row: Row
    samples: int


class Asking:
    """Asks for `samples` answers about each row, and journals each answer as it comes.

    The first SIGINT or SIGTERM sets `stopped` and waits for the answers under way, as they are
    paid for; the second one drops them.
    """

    def __init__(
        self,
        samples: int,
        dialogue: Dialogue,
        journal: Journal,
        endpoint: Endpoint,
        budget: Budget,
        stopped: asyncio.Event,
    ) -> None:
        self._samples, self._dialogue, self._journal = samples, dialogue, journal
        self._endpoint, self._budget, self._stopped = endpoint, budget, stopped
        self._ended = Ended()
        self._answered = self._refused = 0  # requests of this run
        self._unanswered = 0  # since the last answer

    async def ask_all(self, rows: Iterable[Row], progress: Progress, concurrency: int) -> Ended:
        """Asks about what was not answered before, up to so many requests at a time."""
        waiting = self._waiting(rows, progress)  # shared: each sample goes to one worker
        with self._listening(progress):
            try:
                async with self._endpoint, progress.showing(), asyncio.TaskGroup() as workers:
                    for _ in range(concurrency):
                        workers.create_task(self._work(waiting, progress))
            except asyncio.CancelledError:
                if not self._ended.signal:
                    raise
        return self._ended

    def _waiting(self, rows: Iterable[Row], progress: Progress) -> Iterator[tuple[_Open, int]]:
        for row, following in self._dialogue.to_ask(rows, self._samples, self._journal.get):
            if not following:
                progress.skip()
            open_row = _Open(row, len(following))
            for sample in following:
                yield open_row, sample

    async def _work(self, waiting: Iterator[tuple[_Open, int]], progress: Progress) -> None:
        try:
            for open_row, sample in waiting:
                await self._converse(open_row.row, sample)
                if self._stopped.is_set():
                    return
                open_row.samples -= 1
                if not open_row.samples:
                    progress.advance()
        except (BudgetReached, DataError, EndpointError, JournalError, OSError) as why:
            self._stop(why)

    async def _converse(self, row: Row, sample: int) -> None:
        while request := self._dialogue.exchange(row, sample, self._journal.get).following:
            try:
                async with self._budget.reserved(request.body):
                    answer = await self._endpoint.ask(request.body)
                    await self._journal.append(request.key, answer)
            except Unanswered as error:
                if self._stopped.is_set():
                    return
                self._ended.unanswered[request.key] = str(error)
                self._unanswered += 1
                if self._unanswered >= GIVE_UP:
                    raise EndpointError(f"{self._endpoint.name}: gave up: {error}") from error
                return
            self._judge(answer)

    def _judge(self, answer: Answer) -> None:
        """Raises EndpointError where every request so far was refused: so will all others be."""
        self._unanswered = 0
        if answer.refused is None:
            self._answered += 1
            return
        self._refused += 1
        if not self._answered and self._refused >= GIVE_UP:
            raise EndpointError(
                f"{self._endpoint.name}: refused every request: {answer.refused}; "
                "--retry-failed asks these again"
            )

    def _stop(self, why: Exception) -> None:
        self._ended.why = self._ended.why or why
        self._stopped.set()

    @contextmanager
    def _listening(self, progress: Progress) -> Iterator[None]:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def receive(number: int) -> None:
            if self._ended.signal:
                task.cancel()
                return
            self._ended.signal = number
            self._stopped.set()
            progress.say("teacher: stopping; the answers under way are paid for, and waited for")

        for number in SIGNALS:
            loop.add_signal_handler(number, receive, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
