"""Predictions as server-sent events."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from fastapi import Request
from fastapi.sse import EventSourceResponse, format_sse_event
from pydantic import BaseModel
from starlette.types import Send

from service.engine.prediction import Labelled, Prediction
from service.errors import ErrorBody, ServiceError, body_of
from service.middleware.access import STAGES
from service.routes.timing import timing_headers
from service.schemas import LabelAnswer, PredictAnswer, RationalePiece

PAYLOADS: Final[dict[str, type[BaseModel]]] = {
    "label": LabelAnswer,
    "rationale": RationalePiece,
    "done": PredictAnswer,
    "error": ErrorBody,
}
EVENTS: Final[dict[int | str, dict[str, Any]]] = {  # as OpenAPI 3.2 describes server-sent events
    200: {
        "description": "the answer, or with stream its events",
        "headers": {
            f"x-{stage}-time": {"description": "in milliseconds", "schema": {"type": "number"}}
            for stage in ("total", *STAGES)
        },
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "oneOf": [
                        {
                            "type": "object",
                            "required": ["event", "data"],
                            "properties": {
                                "event": {"const": event},
                                "data": {
                                    "type": "string",
                                    "contentMediaType": "application/json",
                                    "contentSchema": {
                                        "$ref": f"#/components/schemas/{payload.__name__}"
                                    },
                                },
                            },
                        }
                        for event, payload in PAYLOADS.items()
                    ]
                }
            }
        },
    }
}

logger = logging.getLogger(__name__)


class PredictionStream(EventSourceResponse):
    """The events `label`, `rationale` (any number) and `done`.

    An error before the label is raised, for an answer with a status of its own. A later one is the
    last event, `error`. `started` is when the request came, by `time.perf_counter`.
    """

    def __init__(
        self,
        request: Request,
        predictions: AsyncGenerator[Labelled | str | Prediction, None],
        started: float,
    ) -> None:
        self._body = self._events(predictions)
        super().__init__(self._body)
        self._request = request
        self._started = started
        self.headers["cache-control"] = "no-cache"
        self.headers["x-accel-buffering"] = "no"  # else nginx would collect the pieces

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._body) as events:
            body = await anext(events)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": body, "more_body": True})
            async for body in events:
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})

    async def _events(
        self, predictions: AsyncGenerator[Labelled | str | Prediction, None]
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(predictions):
            label = await anext(predictions)
            assert isinstance(label, Labelled)
            self.headers.update(timing_headers(self._started, [label]))
            yield _event("label", LabelAnswer.of_label(label))
            try:
                async for prediction in predictions:
                    if isinstance(prediction, str):
                        yield _event("rationale", RationalePiece(text=prediction))
                    elif isinstance(prediction, Prediction):
                        yield _event("done", PredictAnswer.of(prediction))
            except Exception as error:
                if not isinstance(error, ServiceError):
                    logger.exception("a stream failed")
                body = body_of(error)
                self._request.state.error_type = body.error_type
                yield _event("error", body)


def _event(name: str, data: BaseModel) -> bytes:
    return format_sse_event(event=name, data_str=data.model_dump_json(exclude_unset=True))
