"""Admission: limits how many inputs a model takes at once, and the time of each request."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import DeadlineExceeded, Overloaded

MAX_QUEUE = 256  # inputs
TIMEOUT = 60.0  # seconds
NEWEST = 0.1  # weight of the newest request in the mean time that requests take


class Admission:
    """Limits one model's open inputs, and the time of each request. For one event loop."""

    def __init__(self, max_inputs: int, timeout: float) -> None:
        self.max_inputs = max_inputs
        self.timeout = timeout  # seconds
        self.inputs = 0  # open ones: waiting or in slots
        self._drained = asyncio.Event()
        self._drained.set()
        self._mean_time: float | None = None  # seconds that a request took

    @property
    def full(self) -> bool:
        return self.inputs >= self.max_inputs

    async def drained(self) -> None:
        """Returns when no input is open."""
        await self._drained.wait()

    def check_room(self, inputs: int = 1) -> None:
        """Raises Overloaded if too few places are free.

        Never raises if no input is open, even for more inputs than there are places. Else a client
        that asks again after 429 would ask for ever.
        """
        missing = self.inputs + inputs - self.max_inputs
        if self.inputs and missing > 0:
            advice = "send the request again later"
            if inputs > self.max_inputs:
                advice = f"a list of {inputs} must wait until none is; send fewer at once"
            raise Overloaded(
                f"{self.inputs} of at most {self.max_inputs} inputs are in work already; {advice}",
                self._seconds_until_free(missing),
            )

    @asynccontextmanager
    async def admit(self, inputs: int, timeout: float | None = None) -> AsyncIterator[None]:
        """Holds places for all inputs of a request while the request is answered.

        `timeout` (seconds) is the request's own; it can only shorten the time. Raises Overloaded if
        there is no room (see `check_room`). When the time is up, cancels the body of the context
        and raises DeadlineExceeded.
        """
        self.check_room(inputs)
        seconds = self.timeout if timeout is None else min(timeout, self.timeout)
        self.inputs += inputs
        self._drained.clear()
        started = time.perf_counter()
        try:
            async with asyncio.timeout(seconds) as deadline:
                yield
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise DeadlineExceeded(
                f"not answered within {seconds:g} seconds; send less at once, or again later"
            ) from error
        finally:
            self.inputs -= inputs
            if not self.inputs:
                self._drained.set()
            self._learn(time.perf_counter() - started)

    def _learn(self, seconds: float) -> None:
        if self._mean_time is None:
            self._mean_time = seconds
        self._mean_time += NEWEST * (seconds - self._mean_time)

    def _seconds_until_free(self, places: int) -> int:
        """The seconds until `places` places are free, by Little's law.

        During the mean time of a request, `self.inputs` places become free.
        """
        wait = min(1.0, places / self.inputs) * (self._mean_time or 0.0)
        return max(1, math.ceil(wait))
