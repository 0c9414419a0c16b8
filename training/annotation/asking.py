"""Holds many conversations at a time, until all have ended or something stops them."""

import asyncio
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from training.annotation.answer_store import AnswerStore, StoreError
from training.annotation.budget import Budget, BudgetReached
from training.annotation.completion import Completion, Request
from training.annotation.endpoint import Endpoint, EndpointError, Unanswered
from training.annotation.progress import Progress
from training.data.row import DataError

GIVE_UP = 20  # requests in a row that failed; then no more are sent

SIGNALS = (signal.SIGINT, signal.SIGTERM)

Conversation = Callable[[], Request | None]  # the next request, by the store; None at the end


class AllRefused(EndpointError):
    """The endpoint refused every request so far. The store keeps that."""


@dataclass
class Ended:
    """How asking ended.

    `why` says what stopped it early. `unanswered` says, by key, why a request has no answer.
    """

    why: Exception | None = None
    signal: int = 0
    unanswered: dict[str, str] = field(default_factory=dict)


@dataclass
class _Row:
    """How many conversations about a row have not ended."""

    left: int


class Asking:
    """Holds conversations, and stores each completion as it comes.

    The first SIGINT or SIGTERM sets `stopped` and waits for the requests in flight, because their
    answers are paid for. The second one drops them.
    """

    def __init__(
        self, store: AnswerStore, endpoint: Endpoint, budget: Budget, stopped: asyncio.Event
    ) -> None:
        self._store, self._endpoint = store, endpoint
        self._budget, self._stopped = budget, stopped
        self._ended = Ended()
        self._answered = self._refused = 0  # requests of this run
        self._failed = 0  # requests since the last answer

    async def ask_all(
        self, rows: Iterable[Sequence[Conversation]], progress: Progress, concurrency: int
    ) -> Ended:
        """Holds the conversations of each row, with a limited number of requests at a time.

        A row without conversations was finished before.
        """
        waiting = _waiting(rows, progress)  # shared: each conversation goes to one worker
        with self._listening(progress):
            try:
                async with self._endpoint, progress.showing(), asyncio.TaskGroup() as workers:
                    for _ in range(concurrency):
                        workers.create_task(self._work(waiting, progress))
            except asyncio.CancelledError:
                if not self._ended.signal:
                    raise
        return self._ended

    async def _work(self, waiting: Iterator[tuple[_Row, Conversation]], progress: Progress) -> None:
        try:
            for row, conversation in waiting:
                await self._converse(conversation)
                if self._stopped.is_set():
                    return
                row.left -= 1
                if not row.left:
                    progress.advance()
        except (BudgetReached, DataError, EndpointError, StoreError, OSError) as why:
            self._ended.why = self._ended.why or why
            self._stopped.set()

    async def _converse(self, conversation: Conversation) -> None:
        while request := conversation():
            try:
                async with self._budget.reserved(request.body):
                    completion = await self._endpoint.ask(request.body)
                    self._store.keep(request.key, completion)
            except Unanswered as error:
                if self._stopped.is_set():
                    return
                self._ended.unanswered[request.key] = str(error)
                self._failed += 1
                if self._failed >= GIVE_UP:
                    raise EndpointError(f"{self._endpoint.name}: gave up: {error}") from error
                return
            self._count(completion)

    def _count(self, completion: Completion) -> None:
        """Raises AllRefused after GIVE_UP refusals and no answer."""
        self._failed = 0
        if completion.refused is None:
            self._answered += 1
            return
        self._refused += 1
        if not self._answered and self._refused >= GIVE_UP:
            raise AllRefused(f"{self._endpoint.name}: refused every request: {completion.refused}")

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
            progress.say("stopping; waits for the answers in flight, because they are paid for")

        for number in SIGNALS:
            loop.add_signal_handler(number, receive, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)


def _waiting(
    rows: Iterable[Sequence[Conversation]], progress: Progress
) -> Iterator[tuple[_Row, Conversation]]:
    for conversations in rows:
        if not conversations:
            progress.skip()
        row = _Row(len(conversations))
        for conversation in conversations:
            yield row, conversation
