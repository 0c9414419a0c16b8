"""Rate limits, of requests and tokens a minute, and the pauses that an endpoint asks for."""

import asyncio
import contextlib
import time


class Pace:
    """Lets requests through so that neither limit of a minute is passed.

    Requests and tokens come at even distances (the virtual scheduling of the generic cell rate
    algorithm, without bursts): an endpoint that counts by the second is content, too.
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
        """Waits until a request may be sent that is thought to take so many tokens.

        Nobody waits once all is stopped.
        """
        while (wait := self._next() - time.monotonic()) > 0 and not self.stopped.is_set():
            await self.rest(wait)
        now = time.monotonic()
        self._request_at = now + self._request_seconds
        self._tokens_at = max(now, self._tokens_at) + tokens * self._token_seconds

    async def rest(self, seconds: float) -> None:
        """Sleeps for so long, or until all is stopped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)

    def correct(self, tokens: int) -> None:
        """Counts so many tokens more, or fewer, than a request was thought to take."""
        self._tokens_at += tokens * self._token_seconds

    def pause(self, seconds: float) -> None:
        """Lets nothing through for so long."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _next(self) -> float:
        return max(self._request_at, self._tokens_at, self._paused_until)
