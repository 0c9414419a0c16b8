"""The limits on a request's body: its size, declared or not, and the time that it may take."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.middleware.access import CLIENT_CLOSED_REQUEST


class BodyLimits:
    """ASGI middleware: reading a request's body may raise an HTTP error.

    413 where it has more than `max_bytes`, 408 where it is not whole after `max_seconds`, and 499
    where the client leaves. Starlette's own limit answers in plain text where the size was
    declared, and takes a client that leaves for an error in the service.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_seconds: float) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        received, whole = 0, False
        deadline = asyncio.get_running_loop().time() + self.max_seconds

        async def receive_within_limits() -> Message:
            nonlocal received, whole
            if whole:  # all that can come is the client's leaving
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408,
                    f"the body is not whole after {self.max_seconds:g} seconds",
                    {"connection": "close"},
                ) from error
            if message["type"] == "http.disconnect":
                raise HTTPException(CLIENT_CLOSED_REQUEST, "the client left amid its body")
            whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(413, f"the body is larger than {self.max_bytes} bytes")
            return message

        return await self.app(scope, receive_within_limits, send)
