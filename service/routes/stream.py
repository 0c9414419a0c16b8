"""Predictions as server-sent events."""

import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Final

from fastapi import Request
from fastapi.sse import EventSourceResponse, format_sse_event
from pydantic import BaseModel
from starlette.types import Send

from service.engine.answer_stream import AnswerStream
from service.errors import ErrorBody, ServiceError, body_of
from service.inputs import timing_headers
from service.metrics import Metrics
from service.middleware.access import STAGES
from service.schemas import LabelAnswer, PredictAnswer, RationalePiece

PAYLOADS: Final[dict[str, type[BaseModel]]] = {
    "label": LabelAnswer,
    "rationale": RationalePiece,
    "done": PredictAnswer,
    "error": ErrorBody,
}
EVENTS: Final[dict[int | str, dict[str, Any]]] = {  # as OpenAPI 3.2 describes server-sent events
    200: {
        "description": "the answer, or its events with stream",
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

    An error before the label is raised, so its answer has its own status. A later error becomes the
    last event, `error`. `started` is the time of the request, by `time.perf_counter`.
    """

    def __init__(
        self,
        request: Request,
        stream: AbstractAsyncContextManager[AnswerStream],
        metrics: Metrics,
        started: float,
    ) -> None:
        self._body = self._events(stream)
        super().__init__(self._body)
        self._request = request
        self._metrics = metrics
        self._started = started
        self.headers["cache-control"] = "no-cache"
        self.headers["x-accel-buffering"] = "no"  # else nginx buffers the pieces

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._body) as events:
            body = await anext(events)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": body, "more_body": True})
            async for body in events:
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})

    async def _events(
        self, stream: AbstractAsyncContextManager[AnswerStream]
    ) -> AsyncGenerator[bytes, None]:
        begun = False
        try:
            async with stream as answer:
                label = await answer.label()
                self.headers.update(timing_headers(self._started, [label]))
                begun = True
                yield _event("label", LabelAnswer.of(label))
                async with aclosing(answer.rationale()) as pieces:
                    async for piece in pieces:
                        yield _event("rationale", RationalePiece(text=piece))
                prediction = await answer.prediction()
                self._metrics.prediction(prediction)
                yield _event("done", PredictAnswer.of(prediction))
        except Exception as error:
            if not begun:
                raise
            if not isinstance(error, ServiceError):
                logger.exception("a stream failed")
            body = body_of(error)
            self._request.state.error_type = body.error_type
            yield _event("error", body)


def _event(name: str, data: BaseModel) -> bytes:
    return format_sse_event(event=name, data_str=data.model_dump_json(exclude_unset=True))
