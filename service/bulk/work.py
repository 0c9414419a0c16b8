"""Reads rows, asks the engine, and writes shards. Keeps the engine full."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from itertools import islice
from typing import Final, TypeVar

from export.bundle import BundleError
from service.bulk.rows import RequestMaker, answer_record, content_of, error_record
from service.bulk.settings import BulkSettings
from service.bulk.shards import Output, Tally
from service.bulk.survey import Survey
from service.engine.devices import DeviceError
from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest
from service.errors import EngineUnavailable, ServiceError
from tasks.row_files import FileRow, RowFile, RowFileError

TRIES: Final = 3  # of a row, if the runtime fails
AHEAD: Final = 8  # rows that may wait for the oldest one, as a multiple of the rows in flight

T = TypeVar("T")
Result = TypeVar("Result")


class WorkFailed(RuntimeError):
    """No row can be answered any more. The message says why."""


FAILURES: Final = (BundleError, DeviceError, OSError, RowFileError, WorkFailed)


class Worker:
    """An engine that answers the rows of a file. Call `close` at the end."""

    def __init__(self, settings: BulkSettings, file: RowFile) -> None:
        """Raises BundleError, DeviceError."""
        self._engine = Engine.load(
            settings.model,
            device=settings.device,
            threads=settings.threads,
            max_rows=settings.max_rows,
            speculate=settings.speculate,
        )
        self._requests = RequestMaker(self._engine.manifest, settings)
        self._file = file
        file.wanted = self._requests.wanted

    async def answer(
        self,
        shards: Iterable[int],
        survey: Survey,
        output: Output,
        told: Callable[[], None] = lambda: None,
    ) -> Tally:
        """Writes shards in order, and returns their tally. Calls `told` for each row.

        If cancelled, drops the current shard. Raises WorkFailed, RowFileError, OSError.
        """
        shards = list(shards)
        tally = Tally()
        rows = _read(self._file, shards, survey)
        # twice the slots of a kind, so that no slot is empty between two steps
        answers = in_order(rows, self._record, self._engine.slots)
        async with aclosing(answers):
            for shard in shards:
                of_shard = Tally()
                with output.writing(shard) as part:
                    for _ in range(survey.size(shard)):
                        try:
                            record = await anext(answers)
                        except StopAsyncIteration:
                            raise RowFileError(f"{self._file.path}: changed meanwhile") from None
                        part.write(record)
                        of_shard.count(record)
                        told()
                tally.add(of_shard)
        return tally

    def close(self) -> None:
        self._engine.close()

    async def _record(self, row: FileRow) -> bytes:
        line, kept = row.place.line, {}
        try:
            content = content_of(row)
            kept = self._requests.kept(content)
            prediction = await self._predict(self._requests.request(content))
            return answer_record(line, kept, prediction)
        except ServiceError as error:
            return error_record(line, kept, error)

    async def _predict(self, request: PredictRequest) -> Prediction:
        """The prediction. Tries again if the runtime fails: another row may be the cause."""
        for tries_left in range(TRIES - 1, -1, -1):
            try:
                return await self._engine.predict(request)
            except EngineUnavailable as error:
                if self._engine.broken or not self._engine.alive:
                    raise WorkFailed(f"the model fails again and again: {error}") from error
                if not tries_left:
                    raise
        raise AssertionError


async def in_order(
    items: Iterable[T], work: Callable[[T], Awaitable[Result]], width: int
) -> AsyncGenerator[Result, None]:
    """Yields the results of `work` in the order of the items. Works on `width` items at once.

    At most AHEAD × `width` items are taken ahead of the oldest result.
    """
    room = asyncio.Semaphore(width)
    pending: deque[asyncio.Task[Result]] = deque()

    async def one(item: T) -> Result:
        async with room:
            return await work(item)

    try:
        for item in items:
            pending.append(asyncio.create_task(one(item)))
            while pending and (len(pending) >= AHEAD * width or pending[0].done()):
                yield await pending.popleft()
        while pending:
            yield await pending.popleft()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _read(file: RowFile, shards: Iterable[int], survey: Survey) -> Iterator[FileRow]:
    """Yields the rows of shards. Consecutive shards are read without a new start."""
    rows: Iterator[FileRow] = iter(())
    expected = None
    for shard in shards:
        if shard != expected:
            rows = file.rows(survey.begins[shard])
        yield from islice(rows, survey.size(shard))
        expected = shard + 1
