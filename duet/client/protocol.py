"""What both clients have in common: requests, how answers are read, and when to ask again.

Nothing here sends, waits or sleeps.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Generic, TypedDict, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from duet.client.answers import (
    Answer,
    DuetError,
    Input,
    Label,
    ModelInfo,
    Options,
    ServiceInfo,
)

T = TypeVar("T")

BUSY: Final = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
BROKEN: Final = (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)
HERE: Final = ("127.0.0.1", "localhost", "[::1]")  # asked without the environment's proxy
CONNECTIONS: Final = 100  # that a client keeps; more requests wait for one of them
LONGEST_WAIT: Final = 300  # most seconds between two tries, even if the service asks for more
LONGEST_BACKOFF: Final = 30  # most seconds between two tries if the service names none


class _HttpSettings(TypedDict):
    base_url: str
    headers: dict[str, str]
    timeout: httpx2.Timeout
    limits: httpx2.Limits
    mounts: dict[str, None]


def http_settings(url: str, key: str | None, timeout: float | None) -> _HttpSettings:
    """The arguments of httpx2's clients."""
    return _HttpSettings(
        base_url=url,
        headers={} if key is None else {"authorization": f"Bearer {key}"},
        timeout=httpx2.Timeout(timeout, pool=None),  # it does not count the wait for a connection
        limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        mounts=dict.fromkeys(f"all://{host}" for host in HERE),
    )


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and what its answer is read as."""

    method: str
    path: str
    answer: TypeAdapter[T]
    body: Any = None

    def read(self, response: httpx2.Response) -> T:
        """The answer of a response whose body is there. Raises DuetError."""
        try:
            return self.answer.validate_json(response.content)
        except ValidationError as error:
            raise _not_duet(response.status_code) from error


# built once: that takes longer than to read an answer
_MODEL: Final = TypeAdapter(ModelInfo)
_ANSWER: Final = TypeAdapter(Answer)
_ANSWERS: Final = TypeAdapter(list[Answer])

INFO: Final = Call("GET", "info", TypeAdapter(ServiceInfo))
MODELS: Final = Call("GET", "models", TypeAdapter(list[ModelInfo]))


def model_call(name: str) -> Call[ModelInfo]:
    return Call("GET", f"models/{quote(name, safe='')}", _MODEL)


def predict_call(item: Input, options: Options, *, stream: bool = False) -> Call[Answer]:
    body = {"inputs": item, **options} | ({"stream": True} if stream else {})
    return Call("POST", "predict", _ANSWER, body)


def batch_call(items: Sequence[Input], options: Options) -> Call[list[Answer]]:
    return Call("POST", "predict", _ANSWERS, {"inputs": list(items), **options})


class _Piece(BaseModel):
    """A part of a rationale."""

    text: str


class Tries:
    """Counts the tries of one request, up to `retries` + 1. Repeated requests change nothing."""

    def __init__(self, retries: int) -> None:
        self._left = retries
        self._made = 0

    def again_after_break(self) -> bool:
        """Whether to send again after the other side closed the connection, perhaps an idle one."""
        return self._next()

    def seconds_after(self, status: int, headers: Mapping[str, str]) -> int | None:
        """The seconds to wait before the next try; None if this response is the last."""
        if status not in BUSY or not self._next():
            return None
        asked = headers.get("retry-after", "")
        if asked.isdecimal():  # it may also be a date
            return min(int(asked), LONGEST_WAIT)
        return min(1 << (self._made - 1), LONGEST_BACKOFF)

    def _next(self) -> bool:
        if not self._left:
            return False
        self._left -= 1
        self._made += 1
        return True


def event_of(event: httpx2.ServerSentEvent) -> Label | str | Answer | None:
    """What an event of a stream says; None for one that is unknown. Raises DuetError."""
    if event.event == "error":
        raise error_of(event.data, None)
    try:
        match event.event:
            case "label":
                return Label.model_validate_json(event.data)
            case "rationale":
                return _Piece.model_validate_json(event.data).text
            case "done":
                return Answer.model_validate_json(event.data)
    except ValidationError as error:
        raise _not_duet(None) from error
    return None


def broken_stream() -> DuetError:
    return DuetError("the stream broke off before its end", "broken_stream", None)


def _not_duet(status: int | None) -> DuetError:
    return DuetError("not the answer of a Duet service", "not_duet", status)


def error_of(body: str | bytes, status: int | None) -> DuetError:
    """The error that a response, or the event of a stream, tells of."""
    try:
        content = json.loads(body)
        return DuetError(content["error"], content["error_type"], status)
    except (ValueError, TypeError, KeyError):  # not from the service, but from a proxy
        return DuetError(f"HTTP status {status}", "http", status)
