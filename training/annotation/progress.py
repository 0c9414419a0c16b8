"""The progress of a run, on stderr."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tqdm import tqdm

from training.annotation.answer_store import Spent
from training.annotation.budget import Budget
from training.annotation.endpoint import Endpoint

EVERY = 0.5  # seconds between two looks, in a terminal
EVERY_IN_LOGS = 30.0

_TROUBLE = 40  # characters of a failure that the bar shows


class Progress:
    """A bar on stderr: rows, rows a second, time left, tokens, cost, and retries.

    It also moves while no answers come, so that a user sees why.
    """

    def __init__(
        self, command: str, rows: int, spent: Spent, budget: Budget, endpoint: Endpoint
    ) -> None:
        self._command = command
        self._spent, self._budget, self._endpoint = spent, budget, endpoint
        self._every = EVERY if sys.stderr.isatty() else EVERY_IN_LOGS
        self._bar = tqdm(total=rows, desc="asking", unit="row", mininterval=self._every)

    def skip(self) -> None:
        """Counts a row that an earlier run finished. It does not count for the rows a second."""
        self._bar.initial += 1
        self._bar.n += 1
        self._bar.last_print_n += 1

    def advance(self) -> None:
        self._bar.update()

    def say(self, line: str) -> None:
        self._bar.write(f"{self._command}: {line}", file=sys.stderr)

    @asynccontextmanager
    async def showing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._show())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._bar.set_postfix_str(self._so_far(), refresh=False)
            self._bar.close()

    async def _show(self) -> None:
        while True:
            self._bar.set_postfix_str(self._so_far())
            await asyncio.sleep(self._every)

    def _so_far(self) -> str:
        parts = [f"{self._spent.input_tokens + self._spent.output_tokens:,} tokens"]
        if self._budget.cost is not None:
            parts.append(f"cost {self._budget.cost:.4f}")
        if self._endpoint.retries:
            trouble = self._endpoint.trouble[:_TROUBLE]
            parts.append(f"tried again {self._endpoint.retries} times (last: {trouble})")
        return ", ".join(parts)
