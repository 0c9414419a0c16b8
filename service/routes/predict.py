"""POST /predict."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response

from service.access import CLIENT_CLOSED_REQUEST
from service.engine.engine import Engine
from service.engine.prediction import Labelled, Prediction, PredictRequest
from service.errors import InputError, InvalidParameter, TooManyInputs, responses
from service.metrics import Metrics
from service.registry import Registry
from service.routes import CurrentMetrics, CurrentSettings, Models
from service.routes.stream import EVENTS, PredictionStream
from service.routes.timing import timing_headers
from service.schemas import PredictAnswer, PredictBody

T = TypeVar("T")

logger = logging.getLogger(__name__)

router = APIRouter(tags=["predict"])


async def _require_json(request: Request) -> None:
    given = request.headers.get("content-type", "")
    media_type = given.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(
            415, "content-type: expected application/json, got " + (given or "none")
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise HTTPException(415, f"content-encoding: expected none, got {encoding}")


@router.post(
    "/predict",
    dependencies=[Depends(_require_json)],
    response_model=PredictAnswer | list[PredictAnswer],
    response_model_exclude_unset=True,
    responses=EVENTS
    | responses(
        {
            400: "the body is not JSON, or an input is empty",
            404: "no model has this name",
            408: "the body did not come in the time that it may take",
            413: "the body is too large, or the list of inputs too long",
            415: "the content type is not application/json",
            422: "a field is not as it should be, or an input has too many tokens",
            429: "too many inputs are in work; the header retry-after says for how many seconds",
            500: "an error inside the service, at this request",
            503: "the model cannot answer now",
            504: "there was no answer in the time that a request may take",
        }
    ),
)
async def predict(
    body: PredictBody,
    request: Request,
    response: Response,
    models: Models,
    metrics: CurrentMetrics,
    settings: CurrentSettings,
    explain: Annotated[bool, Query(description="the same as in the body")] = False,
    x_request_timeout: Annotated[
        float | None,
        Header(
            gt=0,
            allow_inf_nan=False,
            description="seconds after which an answer is of no use; at most, and without it, as "
            "many as /info tells",
        ),
    ] = None,
) -> PredictAnswer | list[PredictAnswer] | PredictionStream:
    """A label for one input, or a list of labels for a list, with rationales if asked for.

    With `stream`, server-sent events: `label` with the label, its scores and value; `rationale`
    again and again, each with a piece of its text; `done` with all that the answer is without
    `stream`. What goes wrong after the first event is told in a last one, `error`.

    The headers x-total-time, x-tokenization-time, x-queue-time and x-inference-time tell where
    the time went, in milliseconds: for a list, that of the slowest input; for a stream, until its
    label.
    """
    started = time.perf_counter()
    many = isinstance(body.inputs, list)
    inputs = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    if len(inputs) > settings.max_client_batch:
        raise TooManyInputs(
            f"inputs: {len(inputs)} of them, but a request may hold {settings.max_client_batch}"
        )
    places = [f"inputs[{i}]" if many else "inputs" for i in range(len(inputs))]
    if settings.log_inputs:
        logger.info("inputs: %s", json.dumps(inputs), extra={"inputs": inputs})
    requests = [
        PredictRequest(
            item, explain or body.explain, body.top_k, body.max_rationale_tokens, body.truncate
        )
        for item in inputs
    ]
    if body.stream:
        if many:
            raise InvalidParameter("stream: a list cannot be streamed; send one input a request")
        stream = _stream(models, body.model, metrics, requests[0], x_request_timeout)
        return PredictionStream(request, stream, started)
    work = _predict_all(models, body.model, metrics, places, requests, x_request_timeout)
    predictions = await _unless_disconnected(request, work)
    response.headers.update(timing_headers(started, predictions))
    answers = [PredictAnswer.of(prediction) for prediction in predictions]
    return answers if many else answers[0]


async def _predict_all(
    models: Registry,
    name: str | None,
    metrics: Metrics,
    places: Sequence[str],
    requests: Sequence[PredictRequest],
    timeout: float | None,
) -> list[Prediction]:
    async with models.admit(name, len(requests), timeout) as engine:
        return await _all(
            [_predict_one(engine, metrics, *item) for item in zip(places, requests, strict=True)]
        )


async def _predict_one(
    engine: Engine, metrics: Metrics, place: str, request: PredictRequest
) -> Prediction:
    with _named(place):
        prediction = await engine.predict(request)
    metrics.prediction(engine.manifest.name, prediction)
    return prediction


async def _stream(
    models: Registry,
    name: str | None,
    metrics: Metrics,
    request: PredictRequest,
    timeout: float | None,
) -> AsyncGenerator[Labelled | str | Prediction, None]:
    with _named("inputs"):
        async with (
            models.admit(name, 1, timeout) as engine,
            aclosing(engine.stream(request)) as predictions,
        ):
            async for prediction in predictions:
                if isinstance(prediction, Prediction):
                    metrics.prediction(engine.manifest.name, prediction)
                yield prediction


@contextmanager
def _named(place: str) -> Iterator[None]:
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
