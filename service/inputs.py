"""Checks the inputs of one HTTP request, and predicts them together."""

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

RequestTimeout = Annotated[  # the header x-request-timeout
    float | None,
    Header(
        gt=0,
        allow_inf_nan=False,
        description="seconds after which the client needs no answer. The service's own timeout "
        "(see /info) is the maximum and the default",
    ),
]

logger = logging.getLogger(__name__)


async def refuse_encodings(request: Request) -> None:
    """Raises HTTPException (415) if the body is compressed."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise HTTPException(415, f"content-encoding: expected none, got {encoding}")


def check_count(inputs: Sequence[Input], settings: Settings) -> None:
    """Raises TooManyInputs if the list is too long. Logs the inputs if the settings say so."""
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
    """The answers of the model `name` in the order of the inputs.

    An InputError names the input by its entry in `places`. Stops when the client disconnects.

    It reserves its places before it first awaits. So `Shedding` never lets more requests pass than
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
    """The headers with the time of each stage, in milliseconds.

    The total counts from `started` (time.perf_counter). Each stage is that of the slowest answer.
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
    """Adds the place of the input to the messages of its errors."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{place}: {error}") from error


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order. The first failure cancels the other coroutines."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Cancels it and raises HTTPException (499) if the client disconnects."""

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
