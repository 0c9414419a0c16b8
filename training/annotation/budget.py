"""What asking costs, and a cap on it."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from training.annotation.answer_store import Spent
from training.annotation.tokens import most_tokens


class BudgetReached(RuntimeError):
    """The next request could cost more than the budget has left."""


@dataclass(frozen=True)
class Prices:
    """Prices of a million tokens, in the user's currency."""

    input: float
    output: float

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


class Budget:
    """Keeps the cost below a cap: what is spent, and the most that requests in flight may cost."""

    def __init__(self, spent: Spent, prices: Prices | None, cap: float | None) -> None:
        self._spent, self._prices = spent, prices
        self._cap = math.inf if cap is None else cap
        self._under_way: list[float] = []
        self._changed = asyncio.Condition()

    @property
    def cost(self) -> float | None:
        """The cost of all requests so far; None without prices."""
        if self._prices is None:
            return None
        return self._prices.cost(self._spent.input_tokens, self._spent.output_tokens)

    @asynccontextmanager
    async def reserved(self, body: dict[str, Any]) -> AsyncIterator[None]:
        """Waits until the budget covers the most that a request can cost. Raises BudgetReached."""
        most = 0.0 if self._prices is None else self._prices.cost(*most_tokens(body))
        async with self._changed:
            while (self.cost or 0.0) + sum(self._under_way) + most > self._cap:
                if not self._under_way:
                    raise BudgetReached
                await self._changed.wait()
            self._under_way.append(most)
        try:
            yield
        finally:
            self._under_way.remove(most)
            async with self._changed:
                self._changed.notify_all()
