"""Streams: an answer that is read while it is written."""

import asyncio
from collections.abc import AsyncGenerator

from service.engine.answer import Answer
from service.engine.prediction import Prediction


class AnswerStream:
    """An answer in parts: first its label, then its rationale in pieces, then all of it.

    `news` is set whenever there may be more of the answer, and when its request is over. Every part
    raises InternalError or EngineUnavailable where the request has failed.
    """

    def __init__(self, answer: Answer, news: asyncio.Event) -> None:
        self._answer = answer
        self._news = news

    async def label(self) -> Prediction:
        """The prediction once its label is there: without its rationale, unless that is whole."""
        request = self._answer.request
        while not (self._answer.has_label or request.over):
            await self._more()
        if not self._answer.has_label:
            request.future.result()  # raises what it failed with
        return self._answer.prediction()

    async def rationale(self) -> AsyncGenerator[str, None]:
        """The pieces of the rationale, as they are written; none where none was asked for."""
        written, over = "", False
        while not over:
            over = self._answer.request.over  # before a look at the text, which is whole then
            settled = self._answer.written()
            if piece := settled[len(written) :]:
                yield piece
                written = settled
            if not over:
                await self._more()
        whole = await self.prediction()
        if piece := (whole.rationale or "")[len(written) :]:
            yield piece

    async def prediction(self) -> Prediction:
        """What `Engine.predict` returns."""
        await asyncio.wrap_future(self._answer.request.future)
        return self._answer.prediction()

    async def _more(self) -> None:
        """Returns once there may be more of the answer, or its request is over."""
        await self._news.wait()
        self._news.clear()
