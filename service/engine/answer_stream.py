"""Streams: a caller reads an answer while the engine writes it."""

import asyncio
from collections.abc import AsyncGenerator

from service.engine.answer import Answer
from service.engine.prediction import Prediction


class AnswerStream:
    """An answer in parts: the label, then the rationale in pieces, then the whole prediction.

    The engine sets `news` when there may be more of the answer, and when the request is over. Every
    part raises InternalError or EngineUnavailable if the request has failed.
    """

    def __init__(self, answer: Answer, news: asyncio.Event) -> None:
        self._answer = answer
        self._news = news

    async def label(self) -> Prediction:
        """Waits for the label. Returns the prediction, with the rationale only if it is whole."""
        request = self._answer.request
        while not (self._answer.has_label or request.over):
            await self._more()
        if not self._answer.has_label:
            request.future.result()  # raises the request's error
        return self._answer.prediction()

    async def rationale(self) -> AsyncGenerator[str, None]:
        """Yields the pieces of the rationale as they are written; nothing if none was asked for."""
        written, over = "", False
        while not over:
            over = self._answer.request.over  # read first: if true, the text is whole
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
        """Waits for the whole answer. Returns the same prediction as `Engine.predict`."""
        await asyncio.wrap_future(self._answer.request.future)
        return self._answer.prediction()

    async def _more(self) -> None:
        """Returns once there may be more of the answer, or its request is over."""
        await self._news.wait()
        self._news.clear()
