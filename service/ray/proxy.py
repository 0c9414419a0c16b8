"""Gives the answers of Ray Serve's proxy itself the shape of the service's answers.

Ray's processes need this environment variable:
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=service.ray.proxy.middlewares
"""

from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID: Final = (
    "x-request-id"  # not from `service.middleware.access`, which brings all of the engine
)
KEPT_HEADERS: Final = ("retry-after", REQUEST_ID)
ERROR_TYPES: Final = {404: "not_found", 408: "deadline_exceeded", 429: "overloaded"}
TRIES: Final = 2
DIED: Final = "the replica that had this request died; send it again"


def middlewares() -> list[Middleware]:
    return [Middleware(ProxyAnswers)]


class ProxyAnswers:
    """ASGI middleware: repeats requests whose replica died, and gives all errors one shape.

    If a replica dies before it begins to answer, the proxy answers nothing. Such a request is sent
    to another replica, because requests do not change the service. The proxy's own errors are plain
    text; they become an `ErrorBody`. The proxy adds a second x-request-id; only one is kept.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request, answer = _Request(receive), _Answer(send)
        for _ in range(TRIES):
            await self.app(scope, request.receive, answer.send)
            if answer.started or request.left:
                break
            request.rewind()
        if not answer.started:
            died = _error(HTTPStatus.SERVICE_UNAVAILABLE, DIED, {})
            await died(scope, receive, send)
        elif answer.refusal is not None:
            await answer.refusal_in_shape()(scope, receive, send)


class _Request:
    """A request that can be received again."""

    def __init__(self, receive: Receive) -> None:
        self.left = False  # whether the client has left
        self._receive = receive
        self._received: list[Message] = []
        self._next = 0

    async def receive(self) -> Message:
        if self._next < len(self._received):
            message = self._received[self._next]
        else:
            message = await self._receive()
            self.left = message["type"] == "http.disconnect"
            self._received.append(message)
        self._next += 1
        return message

    def rewind(self) -> None:
        self._next = 0


class _Answer:
    """Passes an answer to the client, but keeps a refusal by the proxy."""

    def __init__(self, send: Send) -> None:
        self.started = False
        self.refusal: Message | None = None
        self._text = b""
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            if REQUEST_ID in headers:
                headers[REQUEST_ID] = headers[REQUEST_ID]  # drops the second one
            plain = headers.get("content-type", "").startswith("text/plain")
            if plain and message["status"] >= 400:
                self.refusal = message
        elif self.refusal is not None:
            self._text += message.get("body", b"")
        if self.refusal is None:
            await self._send(message)

    def refusal_in_shape(self) -> JSONResponse:
        assert self.refusal is not None
        headers = Headers(raw=self.refusal["headers"])
        kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
        return _error(self.refusal["status"], self._text.decode(errors="replace"), kept)


def _error(status: int, error: str, headers: dict[str, str]) -> JSONResponse:
    error_type = ERROR_TYPES.get(status, "unavailable")
    return JSONResponse({"error": error, "error_type": error_type}, status, headers)
