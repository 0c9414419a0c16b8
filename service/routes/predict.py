"""POST /predict."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from service.engine.answer_stream import AnswerStream
from service.engine.prediction import PredictRequest
from service.errors import InvalidParameter, responses
from service.inputs import (
    RequestTimeout,
    check_count,
    named,
    predict_all,
    refuse_encodings,
    timing_headers,
)
from service.registry import Registry
from service.routes import CurrentMetrics, CurrentSettings, Models
from service.routes.stream import EVENTS, PredictionStream
from service.schemas import PredictAnswer, PredictBody

router = APIRouter(tags=["predict"])


async def _require_json(request: Request) -> None:
    given = request.headers.get("content-type", "")
    media_type = given.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(
            415, "content-type: expected application/json, got " + (given or "none")
        )
    await refuse_encodings(request)


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
            408: "the body did not arrive in time",
            413: "the body is too large, or the list of inputs is too long",
            415: "the content type is not application/json",
            422: "a field is wrong, an input has too many tokens, or the model gives labels only",
            429: "too many inputs are in work; try again after retry-after seconds",
            500: "an error inside the service",
            503: "the model cannot answer now",
            504: "the answer was not ready in time",
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
    x_request_timeout: RequestTimeout = None,
) -> PredictAnswer | list[PredictAnswer] | PredictionStream:
    """A label for one input, or a list of labels for a list, with rationales if asked for.

    With `stream`, the answer is server-sent events. `label` has the label, its scores and value.
    Each `rationale` has a piece of the text. `done` has the whole answer, as without `stream`.
    After an error behind the first event, the last event is `error`.

    The headers x-total-time, x-tokenization-time, x-queue-time and x-inference-time are in
    milliseconds. For a list, they are of the slowest input; for a stream, until the label.
    """
    started = time.perf_counter()
    many = isinstance(body.inputs, list)
    inputs = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    check_count(inputs, settings)
    places = [f"inputs[{i}]" if many else "inputs" for i in range(len(inputs))]
    requests = [
        PredictRequest(
            item, explain or body.explain, body.top_k, body.max_rationale_tokens, body.truncate
        )
        for item in inputs
    ]
    if body.stream:
        if many:
            raise InvalidParameter("stream: a list cannot be streamed; send one input a request")
        stream = _stream(models, body.model, requests[0], x_request_timeout)
        return PredictionStream(request, stream, metrics, started)
    predictions = await predict_all(
        request, models, body.model, metrics, places, requests, x_request_timeout
    )
    response.headers.update(timing_headers(started, predictions))
    answers = [PredictAnswer.of(prediction) for prediction in predictions]
    return answers if many else answers[0]


@asynccontextmanager
async def _stream(
    models: Registry, name: str | None, request: PredictRequest, timeout: float | None
) -> AsyncIterator[AnswerStream]:
    """Yields the model's answer as a stream, and holds a place for it in the model's admission."""
    with named("inputs"):
        async with models.admit(name, 1, timeout) as engine, engine.stream(request) as answer:
            yield answer
