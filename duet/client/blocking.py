"""The client that waits for each answer."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from duet.client.answers import Answer, Input, Label, ModelInfo, Options, ServiceInfo
from duet.client.protocol import (
    BROKEN,
    INFO,
    MODELS,
    Call,
    Tries,
    batch_call,
    broken_stream,
    error_of,
    event_of,
    http_settings,
    model_call,
    predict_call,
)

T = TypeVar("T")


class Client:
    """A connection to a service. Threads may share it. Close it, or use it as a context manager.

    `key` is an API key. `timeout` is in seconds, None for no limit; the default is longer than the
    service's own. If the service is busy (status 429, 503 or 504), the client tries again up to
    `retries` times, after the seconds in Retry-After. It also tries again if the service closed the
    connection. Up to 100 requests are sent at once; more wait.

    All methods raise DuetError, and httpx2.TransportError if the service cannot be reached. A wrong
    `url` raises httpx2.InvalidURL.

        with Client("http://127.0.0.1:8000") as duet:
            print(duet.predict("Ann had 3 pens and lost 1. How many are left?").label)
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float | None = 90.0,
        retries: int = 3,
    ) -> None:
        self._http = httpx2.Client(**http_settings(url, key, timeout))
        self._retries = retries

    def info(self) -> ServiceInfo:
        """The service's default model and its limits."""
        return self._read(INFO)

    def models(self) -> list[ModelInfo]:
        """The loaded models, the default one first."""
        return self._read(MODELS)

    def model(self, name: str) -> ModelInfo:
        """The loaded model `name`."""
        return self._read(model_call(name))

    def predict(self, item: Input, **options: Unpack[Options]) -> Answer:
        """The answer to one input."""
        return self._read(predict_call(item, options))

    def predict_batch(self, items: Sequence[Input], **options: Unpack[Options]) -> list[Answer]:
        """The answers to N inputs, in their order. One request: N is at most `max_client_batch`."""
        return self._read(batch_call(items, options))

    def stream(self, item: Input, **options: Unpack[Options]) -> Iterator[Label | str | Answer]:
        """Yields the label, then the rationale in pieces as it is written, then the whole answer.

        Leaving the loop early ends the service's work.
        """
        with self._response(predict_call(item, options, stream=True)) as response:
            for event in httpx2.EventSource(response):
                if (said := event_of(event)) is not None:
                    yield said
                if isinstance(said, Answer):
                    return
        raise broken_stream()

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

    def _read(self, call: Call[T]) -> T:
        with self._response(call) as response:
            response.read()
            return call.read(response)

    @contextmanager
    def _response(self, call: Call[Any]) -> Iterator[httpx2.Response]:
        """Yields a successful response. Its body is not read yet."""
        response = self._send(self._http.build_request(call.method, call.path, json=call.body))
        try:
            if not response.is_success:
                raise error_of(response.read(), response.status_code)
            yield response
        finally:
            response.close()

    def _send(self, request: httpx2.Request) -> httpx2.Response:
        tries = Tries(self._retries)
        while True:
            try:
                response = self._http.send(request, stream=True)
            except BROKEN:
                if tries.again_after_break():
                    continue
                raise
            seconds = tries.seconds_after(response.status_code, response.headers)
            if seconds is None:
                return response
            response.read()
            time.sleep(seconds)
