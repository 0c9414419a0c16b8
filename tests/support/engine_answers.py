"""The answers of an engine, for a test without an event loop."""

import asyncio
from typing import NamedTuple

from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest


class Streamed(NamedTuple):
    """All parts of a stream."""

    label: Prediction
    pieces: list[str]
    whole: Prediction


def predict(engine: Engine, *requests: PredictRequest) -> list[Prediction]:
    """The answers to concurrent requests."""

    async def gather() -> list[Prediction]:
        return await asyncio.gather(*map(engine.predict, requests))

    return asyncio.run(gather())


async def collect(engine: Engine, request: PredictRequest) -> Streamed:
    async with engine.stream(request) as stream:
        label = await stream.label()
        pieces = [piece async for piece in stream.rationale()]
        return Streamed(label, pieces, await stream.prediction())
