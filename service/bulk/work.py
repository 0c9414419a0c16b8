"""The work: rows in, shards out, and the engine full all the while."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from itertools import islice
from typing import Final, TypeVar

from export.bundle import BundleError
from service.bulk.rows import RowReader, answer_record, error_record
from service.bulk.settings import BatchSettings
from service.bulk.shards import Output, Tally
from service.bulk.sources import Record, Source, SourceError, Survey
from service.engine.devices import DeviceError
from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest
from service.errors import EngineUnavailable, ServiceError

TRIES: Final = 3  # of a row, where the runtime fails
AHEAD: Final = 8  # times the rows in flight that may be done before the oldest is

T = TypeVar("T")
Result = TypeVar("Result")


class WorkFailed(RuntimeError):
    """Rows cannot be answered, whatever they are. The message says why."""


FAILURES: Final = (BundleError, DeviceError, OSError, SourceError, WorkFailed)  # with a message


class Worker:
    """An engine, and what to ask it of the rows of a source. `close` it in the end."""

    def __init__(self, settings: BatchSettings, source: Source) -> None:
        """Raises BundleError, DeviceError."""
        self._engine = Engine.load(
            settings.model,
            device=settings.device,
            threads=settings.threads,
            max_rows=settings.max_rows,
            speculate=settings.speculate,
        )
        self._reader = RowReader(self._engine.manifest, settings)
        self._source = source
        source.wanted = self._reader.wanted

    async def answer(
        self,
        shards: Iterable[int],
        survey: Survey,
        output: Output,
        told: Callable[[], None] = lambda: None,
    ) -> Tally:
        """Writes shards, in order. `told` is called for each row.

        Who cancels it drops the shard in work. Raises WorkFailed, SourceError, OSError.
        """
        shards = list(shards)
        tally = Tally()
        records = _read(self._source, shards, survey)
        # twice as many as there are slots of a kind, so that none is empty between two steps
        answers = in_order(records, self._record, self._engine.slots)
        async with aclosing(answers):
            for shard in shards:
                of_shard = Tally()
                with output.writing(shard) as file:
                    for _ in range(survey.size(shard)):
                        try:
                            record = await anext(answers)
                        except StopAsyncIteration:
                            raise SourceError(f"{self._source.path}: changed meanwhile") from None
                        file.write(record)
                        of_shard.count(record)
                        told()
                tally.add(of_shard)
        return tally

    def close(self) -> None:
        self._engine.close()

    async def _record(self, record: Record) -> bytes:
        line, kept = record.place.line, {}
        try:
            if isinstance(record.row, ServiceError):
                raise record.row
            kept = self._reader.kept(record.row)
            prediction = await self._predict(self._reader.request(record.row))
            return answer_record(line, kept, prediction)
        except ServiceError as error:
            return error_record(line, kept, error)

    async def _predict(self, request: PredictRequest) -> Prediction:
        """Tries again where the runtime failed: that may have been another row's fault."""
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
    """The results in the order of the items, of which `width` are under way at once.

    Items are taken as results are, but for the AHEAD × `width` latest.
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


def _read(source: Source, shards: Iterable[int], survey: Survey) -> Iterator[Record]:
    """The records of shards. Of those in a row, a file is read without a pause."""
    records: Iterator[Record] = iter(())
    expected = None
    for shard in shards:
        if shard != expected:
            records = source.records(survey.begins[shard])
        yield from islice(records, survey.size(shard))
        expected = shard + 1
