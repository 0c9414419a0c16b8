"""Limits the size of a request's body, and the time in which it must arrive."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.middleware.access import CLIENT_CLOSED_REQUEST


class BodyLimits:
    """ASGI middleware: raises HTTPException while the application reads a bad body.

    413: the body has more than `max_bytes`. 408: it is not complete after `max_seconds`. 499: the
    client leaves. Starlette's own limit ignores the application's error handlers if the size is
    declared: it answers in plain text. It also takes a leaving client for an error in the service.
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
            if whole:  # now only http.disconnect can come
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    408,
                    f"the body is not complete after {self.max_seconds:g} seconds",
                    {"connection": "close"},
                ) from error
            if message["type"] == "http.disconnect":
                raise HTTPException(CLIENT_CLOSED_REQUEST, "the client left before its body ended")
            whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(413, f"the body is larger than {self.max_bytes} bytes")
            return message

        return await self.app(scope, receive_within_limits, send)
