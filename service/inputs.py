"""The inputs of one HTTP request: checked, and predicted together."""

import asyncio
import json
import logging
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from fastapi import Header, HTTPException, Request

from service.engine.engine import Engine
from service.engine.prediction import Input, Prediction, PredictRequest
from service.errors import InputError, TooManyInputs
from service.metrics import Metrics
from service.middleware.access import CLIENT_CLOSED_REQUEST
from service.registry import Registry
from service.settings import Settings

T = TypeVar("T")

RequestTimeout = Annotated[  # of the header x-request-timeout
    float | None,
    Header(
        gt=0,
        allow_inf_nan=False,
        description="seconds after which an answer is of no use; at most, and without it, as many "
        "as /info tells",
    ),
]

logger = logging.getLogger(__name__)


async def refuse_encodings(request: Request) -> None:
    """Raises HTTPException where the body is compressed."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise HTTPException(415, f"content-encoding: expected none, got {encoding}")


def check_count(inputs: Sequence[Input], settings: Settings) -> None:
    """Raises TooManyInputs. Logs the inputs, where the settings say so."""
    if len(inputs) > settings.max_client_batch:
        raise TooManyInputs(
            f"inputs: {len(inputs)} of them, but a request may hold {settings.max_client_batch}"
        )
    if settings.log_inputs:
        logger.info("inputs: %s", json.dumps(inputs), extra={"inputs": inputs})


async def predict_all(
    request: Request,
    models: Registry,
    name: str | None,
    metrics: Metrics,
    places: Sequence[str],
    inputs: Sequence[PredictRequest],
    timeout: float | None,
    version: str | None = None,
) -> list[Prediction]:
    """The answers in the order of the inputs, by the model of that name and version.

    An error of an input names its place, which is in `places`. Ends when the client goes away.

    It takes the room before it first waits. So no more requests pass `Shedding` meanwhile than
    there is room for.
    """
    async with models.admit(name, len(inputs), timeout, version) as engine:
        work = [_predict_one(engine, metrics, *item) for item in zip(places, inputs, strict=True)]
        return await _unless_disconnected(request, _all(work))


async def _predict_one(
    engine: Engine, metrics: Metrics, place: str, request: PredictRequest
) -> Prediction:
    with named(place):
        prediction = await engine.predict(request)
    metrics.prediction(prediction)
    return prediction


def timing_headers(started: float, answers: Sequence[Prediction]) -> dict[str, str]:
    """The headers that tell where the time went, in milliseconds.

    The total is since `started`, by time.perf_counter; the stages are of the slowest answer.
    """
    timings = [answer.timings for answer in answers]
    seconds = {
        "total": time.perf_counter() - started,
        "tokenization": max(timing.tokenization for timing in timings),
        "queue": max(timing.queue for timing in timings),
        "inference": max(timing.inference for timing in timings),
    }
    return {f"x-{stage}-time": f"{value * 1000:.2f}" for stage, value in seconds.items()}


@contextmanager
def named(place: str) -> Iterator[None]:
    """Has the errors of an input say which one it was."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{place}: {error}") from error


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order. The first to fail cancels the others."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, which is cancelled when the client goes away."""

    async def disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.create_task(work), asyncio.create_task(disconnect())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise HTTPException(CLIENT_CLOSED_REQUEST, "the client closed the request")
    finally:
        working.cancel()
        leaving.cancel()
