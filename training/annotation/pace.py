"""Limits of requests and tokens a minute, and the pauses that an endpoint asks for."""

import asyncio
import contextlib
import time


class Pace:
    """Delays requests so that they stay below both limits.

    Requests and tokens are spaced evenly (the virtual scheduling of the generic cell rate
    algorithm, without bursts). So an endpoint that counts by the second accepts them too.
    """

    def __init__(
        self,
        stopped: asyncio.Event,
        requests_a_minute: float | None = None,
        tokens_a_minute: float | None = None,
    ) -> None:
        self.stopped = stopped
        self._request_seconds = 60 / requests_a_minute if requests_a_minute else 0.0
        self._token_seconds = 60 / tokens_a_minute if tokens_a_minute else 0.0
        self._request_at = self._tokens_at = self._paused_until = 0.0

    async def turn(self, tokens: int) -> None:
        """Waits until a request with about this many tokens may be sent.

        Returns at once when the run is stopped.
        """
        while (wait := self._next() - time.monotonic()) > 0 and not self.stopped.is_set():
            await self.rest(wait)
        now = time.monotonic()
        self._request_at = now + self._request_seconds
        self._tokens_at = max(now, self._tokens_at) + tokens * self._token_seconds

    async def rest(self, seconds: float) -> None:
        """Sleeps for `seconds`, or until the run is stopped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)

    def correct(self, tokens: int) -> None:
        """Corrects the count by `tokens` more, or fewer if negative, than a request was thought to
        take."""
        self._tokens_at += tokens * self._token_seconds

    def pause(self, seconds: float) -> None:
        """Lets no request through for `seconds`."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _next(self) -> float:
        return max(self._request_at, self._tokens_at, self._paused_until)
