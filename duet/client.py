"""A client for a running service. Install the extra `client` to use it.

with Client("http://127.0.0.1:8000") as duet:
    print(duet.predict("Ann had 3 pens and lost 1. How many are left?", explain=True).rationale)
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

Input = str | Mapping[str, str | Sequence[str]]  # the task's fields, or the text of its only field
Fields = dict[str, str | list[str]]
T = TypeVar("T")

BUSY: Final = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
HERE: Final = ("127.0.0.1", "localhost", "[::1]")  # asked without the environment's proxy
LONGEST_WAIT: Final = 300  # most seconds between two tries, even if the service asks for more
LONGEST_BACKOFF: Final = 30  # most seconds between two tries if the service names none


class Options(TypedDict, total=False):
    """The options of a request. The service's /docs describes them."""

    model: str
    explain: bool
    top_k: int
    max_rationale_tokens: int
    truncate: bool


class Score(BaseModel):
    label: str
    score: float


class Usage(BaseModel):
    """Counts of tokens (end tokens included) and of decoder steps.

    `truncated`: the input was too long and was cut at its end.
    """

    input_tokens: int
    label_tokens: int
    rationale_tokens: int
    decoder_steps: int
    accepted_tokens: int
    truncated: bool


class _Labelled(BaseModel):
    label: str
    confidence: float
    answer: float | None = None  # the value of an equation
    scores: list[Score]


class Label(_Labelled):
    """The first event of a stream."""


class Answer(_Labelled):
    """The whole answer to one input. `rationale` is None if it was not asked for."""

    rationale: str | None = None
    decoder_passes: int
    model: str
    version: str
    usage: Usage


class ModelInfo(BaseModel):
    """A loaded model, as its bundle describes it."""

    name: str
    version: str
    checksum: str  # SHA-256 of the bundle's manifest, and so of every file of the bundle
    default: bool
    task: dict[str, Any]
    precision: str
    limits: dict[str, int]
    explains: bool = True  # whether it may be asked to explain; older services do not tell
    metrics: dict[str, dict[str, float | int | str]]
    provenance: dict[str, Any]
    license: str
    form: Fields
    examples: list[Fields]


class ServiceInfo(BaseModel):
    """The service's version, its models and its limits. `timeout` is in seconds."""

    version: str
    default_model: str
    models: list[str]
    max_client_batch: int
    max_body_bytes: int
    max_rows: int
    max_queue: int
    timeout: float
    threads: int


# built once: that takes longer than to read an answer
_INFO: Final = TypeAdapter(ServiceInfo)
_MODEL: Final = TypeAdapter(ModelInfo)
_MODELS: Final = TypeAdapter(list[ModelInfo])
_ANSWER: Final = TypeAdapter(Answer)
_ANSWERS: Final = TypeAdapter(list[Answer])


class DuetError(Exception):
    """The service refused the request or failed. The message is the service's own.

    `status` is the HTTP status, None for an error in a stream. `error_type` is the kind of error,
    for programs; "not_duet": the answer did not come from a Duet service.
    """

    def __init__(self, message: str, error_type: str, status: int | None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.status = status


class Client:
    """A connection to a service. Threads may share it. Close it, or use it as a context manager.

    `key` is an API key. `timeout` is in seconds, None for no limit; the default is longer than the
    service's own. If the service is busy (status 429, 503 or 504), the client tries again up to
    `retries` times, after the seconds in Retry-After. It also tries again if the service closed the
    connection.

    All methods raise DuetError, and httpx2.TransportError if the service cannot be reached. A wrong
    `url` raises httpx2.InvalidURL.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float | None = 90.0,
        retries: int = 3,
    ) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = httpx2.Client(
            base_url=url,
            headers=headers,
            timeout=timeout,
            mounts={f"all://{host}": None for host in HERE},
        )
        self._retries = retries

    def info(self) -> ServiceInfo:
        """The service's default model and its limits."""
        return self._read("GET", "info", _INFO)

    def models(self) -> list[ModelInfo]:
        """The loaded models, the default one first."""
        return self._read("GET", "models", _MODELS)

    def model(self, name: str) -> ModelInfo:
        """The loaded model `name`."""
        return self._read("GET", f"models/{quote(name, safe='')}", _MODEL)

    def predict(self, item: Input, **options: Unpack[Options]) -> Answer:
        """The answer to one input."""
        return self._read("POST", "predict", _ANSWER, {"inputs": item, **options})

    def predict_batch(self, items: Sequence[Input], **options: Unpack[Options]) -> list[Answer]:
        """The answers to N inputs, in their order. One request: N is at most `max_client_batch`."""
        body = {"inputs": list(items), **options}
        return self._read("POST", "predict", _ANSWERS, body)

    def stream(self, item: Input, **options: Unpack[Options]) -> Iterator[Label | str | Answer]:
        """Yields the label, then the rationale in pieces as it is written, then the whole answer.

        Leaving the loop early ends the service's work.
        """
        body = {"inputs": item, **options, "stream": True}
        with self._response("POST", "predict", body) as response:
            for event in httpx2.EventSource(response):
                match event.event:
                    case "label":
                        yield Label.model_validate_json(event.data)
                    case "rationale":
                        yield json.loads(event.data)["text"]
                    case "done":
                        yield Answer.model_validate_json(event.data)
                        return
                    case "error":
                        raise _error(event.data, None)
        raise DuetError("the stream broke off before its end", "broken_stream", None)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, method: str, path: str, answer: TypeAdapter[T], body: Any = None) -> T:
        with self._response(method, path, body) as response:
            content = response.read()
        try:
            return answer.validate_json(content)
        except ValidationError as error:
            raise DuetError(
                "not the answer of a Duet service", "not_duet", response.status_code
            ) from error

    @contextmanager
    def _response(self, method: str, path: str, body: Any) -> Iterator[httpx2.Response]:
        """Yields a successful response. Its body is not read yet."""
        response = self._send(self._http.build_request(method, path, json=body))
        try:
            if not response.is_success:
                raise _error(response.read(), response.status_code)
            yield response
        finally:
            response.close()

    def _send(self, request: httpx2.Request) -> httpx2.Response:
        """The last of up to `retries` + 1 responses. Repeated requests change nothing."""
        for tries in range(self._retries):
            try:
                response = self._http.send(request, stream=True)
            except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
                continue  # the other side closed an idle connection
            if response.status_code not in BUSY:
                return response
            response.read()
            time.sleep(_seconds(response.headers.get("retry-after", ""), tries))
        return self._http.send(request, stream=True)


def _error(body: str | bytes, status: int | None) -> DuetError:
    try:
        content = json.loads(body)
        return DuetError(content["error"], content["error_type"], status)
    except (ValueError, TypeError, KeyError):  # not from the service, but from a proxy
        return DuetError(f"HTTP status {status}", "http", status)


def _seconds(retry_after: str, tries: int) -> int:
    if retry_after.isdecimal():  # it may also be a date
        return min(int(retry_after), LONGEST_WAIT)
    return min(1 << tries, LONGEST_BACKOFF)
