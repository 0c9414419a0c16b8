"""POST /predict."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from service.engine.prediction import Labelled, Prediction, PredictRequest
from service.errors import InvalidParameter, responses
from service.metrics import Metrics
from service.registry import Registry
from service.routes import CurrentMetrics, CurrentSettings, Models
from service.routes.batch import (
    RequestTimeout,
    check_batch,
    named,
    predict_all,
    refuse_encodings,
)
from service.routes.stream import EVENTS, PredictionStream
from service.routes.timing import timing_headers
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
    x_request_timeout: RequestTimeout = None,
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
    check_batch(inputs, settings)
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
        stream = _stream(models, body.model, metrics, requests[0], x_request_timeout)
        return PredictionStream(request, stream, started)
    predictions = await predict_all(
        request, models, body.model, metrics, places, requests, x_request_timeout
    )
    response.headers.update(timing_headers(started, predictions))
    answers = [PredictAnswer.of(prediction) for prediction in predictions]
    return answers if many else answers[0]


async def _stream(
    models: Registry,
    name: str | None,
    metrics: Metrics,
    request: PredictRequest,
    timeout: float | None,
) -> AsyncGenerator[Labelled | str | Prediction, None]:
    with named("inputs"):
        async with (
            models.admit(name, 1, timeout) as engine,
            aclosing(engine.stream(request)) as predictions,
        ):
            async for prediction in predictions:
                if isinstance(prediction, Prediction):
                    metrics.prediction(engine.manifest.name, prediction)
                yield prediction
