"""The client for asyncio, and for whatever else anyio runs on."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

import anyio
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

_Events = AsyncGenerator[httpx2.ServerSentEvent, None]


class AsyncClient:
    """`Client` with coroutines, for one event loop. Tasks may share it.

    Its arguments and errors are Client's. Cancelling a task ends the service's work on its request.

        async with AsyncClient("http://127.0.0.1:8000") as duet:
            answers = await asyncio.gather(*[duet.predict(text) for text in texts])
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float | None = 90.0,
        retries: int = 3,
    ) -> None:
        self._http = httpx2.AsyncClient(**http_settings(url, key, timeout))
        self._retries = retries

    async def info(self) -> ServiceInfo:
        """The service's default model and its limits."""
        return await self._read(INFO)

    async def models(self) -> list[ModelInfo]:
        """The loaded models, the default one first."""
        return await self._read(MODELS)

    async def model(self, name: str) -> ModelInfo:
        """The loaded model `name`."""
        return await self._read(model_call(name))

    async def predict(self, item: Input, **options: Unpack[Options]) -> Answer:
        """The answer to one input."""
        return await self._read(predict_call(item, options))

    async def predict_batch(
        self, items: Sequence[Input], **options: Unpack[Options]
    ) -> list[Answer]:
        """The answers to N inputs, in their order. One request: N is at most `max_client_batch`."""
        return await self._read(batch_call(items, options))

    async def stream(
        self, item: Input, **options: Unpack[Options]
    ) -> AsyncGenerator[Label | str | Answer, None]:
        """Yields the label, then the rationale in pieces as it is written, then the whole answer.

        Leaving the loop early ends the service's work.

            async for event in duet.stream(text, explain=True):
                print(event)
        """
        async with self._response(predict_call(item, options, stream=True)) as response:
            source = aiter(httpx2.EventSource(response))
            async with aclosing(cast(_Events, source)) as events:
                async for event in events:
                    if (said := event_of(event)) is not None:
                        yield said
                    if isinstance(said, Answer):
                        return
        raise broken_stream()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _read(self, call: Call[T]) -> T:
        async with self._response(call) as response:
            await response.aread()
            return call.read(response)

    @asynccontextmanager
    async def _response(self, call: Call[Any]) -> AsyncIterator[httpx2.Response]:
        """Yields a successful response. Its body is not read yet."""
        request = self._http.build_request(call.method, call.path, json=call.body)
        response = await self._send(request)
        try:
            if not response.is_success:
                raise error_of(await response.aread(), response.status_code)
            yield response
        finally:
            await response.aclose()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        tries = Tries(self._retries)
        while True:
            try:
                response = await self._http.send(request, stream=True)
            except BROKEN:
                if tries.again_after_break():
                    continue
                raise
            seconds = tries.seconds_after(response.status_code, response.headers)
            if seconds is None:
                return response
            await response.aread()
            await anyio.sleep(seconds)
