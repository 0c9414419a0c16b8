"""A client for a service over HTTP: the extra `client` installs what it needs.

with Client("http://127.0.0.1:8000") as duet:
    print(duet.predict("Ann had 3 pens and lost 1. How many are left?", explain=True).rationale)
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self, TypedDict, Unpack

import httpx2
from pydantic import BaseModel, TypeAdapter

Input = str | Mapping[str, str | Sequence[str]]  # the task's fields, or the text of its only one


class Options(TypedDict, total=False):
    """What may be asked beside the input; see /docs."""

    model: str
    explain: bool
    top_k: int
    max_rationale_tokens: int
    truncate: bool


class Score(BaseModel):
    label: str
    score: float


class Usage(BaseModel):
    """Tokens, the end tokens included, steps of the decoder, and if the input lost its end."""

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
    """What comes first in a stream."""


class Answer(_Labelled):
    """All that is answered about an input. `rationale` is None where it was not asked for."""

    rationale: str | None = None
    decoder_passes: int
    model: str
    version: str
    usage: Usage


ANSWERS: Final = TypeAdapter(list[Answer])


class DuetError(Exception):
    """A refusal or a failure that the service tells of.

    `status` is the HTTP status, and None where a stream broke off. `error_type` is the kind of
    error, for programs.
    """

    def __init__(self, message: str, error_type: str, status: int | None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.status = status


class Client:
    """Keeps its connections; threads may share it. `close` it in the end, or use it as a context.

    `key` is an API key. `timeout` is in seconds, and longer than the service's own by default.
    An overloaded service is asked again up to `retries` times, each time when it says.

    Its methods raise DuetError, and httpx2.TransportError where the service cannot be reached.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float = 90.0,
        retries: int = 3,
    ) -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout)
        self._retries = retries

    def predict(self, item: Input, **options: Unpack[Options]) -> Answer:
        with self._post(item, options) as response:
            return Answer.model_validate_json(response.read())

    def predict_batch(self, items: Sequence[Input], **options: Unpack[Options]) -> list[Answer]:
        """In one request, so for at most as many inputs as the service takes at once (/info)."""
        with self._post(list(items), options) as response:
            return ANSWERS.validate_json(response.read())

    def stream(self, item: Input, **options: Unpack[Options]) -> Iterator[Label | str | Answer]:
        """The label, then the rationale in pieces as it is written, then the whole answer.

        Who leaves the loop early ends the service's work.
        """
        with self._post(item, options, stream=True) as response:
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

    @contextmanager
    def _post(
        self, inputs: Input | list[Input], options: Options, **more: Any
    ) -> Iterator[httpx2.Response]:
        """A successful answer, its body not read yet."""
        body = {"inputs": inputs, **options, **more}
        for retries_left in range(self._retries, -1, -1):
            with self._http.stream("POST", "predict", json=body) as response:
                if response.is_success:
                    yield response
                    return
                error = _error(response.read(), response.status_code)
            if response.status_code != HTTPStatus.TOO_MANY_REQUESTS or not retries_left:
                raise error
            time.sleep(_seconds(response.headers.get("retry-after", "")))


def _error(body: str | bytes, status: int | None) -> DuetError:
    try:
        content = json.loads(body)
        return DuetError(content["error"], content["error_type"], status)
    except (ValueError, TypeError, KeyError):  # it comes from something else, as a proxy
        return DuetError(f"HTTP status {status}", "http", status)


def _seconds(retry_after: str) -> int:
    return int(retry_after) if retry_after.isdecimal() else 1  # it may also be a date
