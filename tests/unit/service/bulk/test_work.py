import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from service.bulk.rows import open_input
from service.bulk.settings import BulkSettings
from service.bulk.shards import Output, Tally
from service.bulk.survey import Survey, survey
from service.bulk.work import AHEAD, TRIES, Worker, WorkFailed, in_order
from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest
from service.errors import EngineUnavailable
from tasks.row_files import RowFileError
from tests.support.tiny_students import problems


async def collect(results: AsyncIterator[Any]) -> list[Any]:
    return [result async for result in results]


def test_results_come_in_order_and_so_many_are_under_way() -> None:
    under_way, most, taken = 0, 0, 0
    slow = asyncio.Event()

    def items() -> Any:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    async def work(item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if item == 1:
            await slow.wait()
        await asyncio.sleep(0)
        under_way -= 1
        return item * 10

    async def run() -> list[int]:
        results = in_order(items(), work, 3)
        first = asyncio.ensure_future(anext(results))
        for _ in range(200):
            await asyncio.sleep(0)
        # the others went on behind the slow one, but not without end
        assert (taken, under_way) == (AHEAD * 3, 1)
        slow.set()
        return [await first, *await collect(results)]

    assert asyncio.run(run()) == [item * 10 for item in range(1, 101)]
    assert most == 3


def test_who_leaves_early_ends_what_is_under_way() -> None:
    ended: list[int] = []

    async def work(item: int) -> int:
        try:
            await asyncio.sleep(0 if item == 0 else 3600)
        finally:
            ended.append(item)
        return item

    async def run() -> None:
        async with aclosing(in_order(range(10), work, 4)) as results:
            assert await anext(results) == 0
        assert sorted(ended) == [0, 1, 2, 3, 4]  # which took the room of 0

    asyncio.run(run())


class Bulk:
    """A worker on three shards of two rows, and its folder."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        rows = folder / "rows.jsonl"
        rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in problems(6)))
        settings = BulkSettings(
            input=rows, output=folder / "out", model=bundle, threads=1, max_rows=4
        )
        file = open_input(rows)
        self.survey = survey(file, 2)
        self.worker = Worker(settings, file)
        self.output = Output(settings.output)

    def answer(self, *shards: int, survey: Survey | None = None) -> Tally:
        with self.output:
            work = self.worker.answer(shards, survey or self.survey, self.output)
            return asyncio.run(work)

    def records(self, shard: int) -> list[Any]:
        path = self.output.folder / f"part-{shard:05}.jsonl"
        return list(map(json.loads, path.read_text().splitlines()))


@pytest.fixture
def bulk(tmp_path: Path, tiny_bundle: Path) -> Any:
    made = Bulk(tmp_path, tiny_bundle)
    yield made
    made.worker.close()


def test_any_shards_are_written(bulk: Bulk, engine: Engine) -> None:
    assert bulk.answer(0, 2) == Tally(rows=4)
    assert sorted(bulk.output.finished(bulk.survey)) == [0, 2]
    assert [record["line"] for record in bulk.records(2)] == [5, 6]
    alone = asyncio.run(engine.predict(PredictRequest(problems(6)[5])))
    assert bulk.records(2)[1]["label"] == alone.label
    assert bulk.records(2)[1]["confidence"] == alone.confidence


def test_a_row_is_tried_again_where_the_runtime_fails(
    bulk: Bulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, failures = Engine.predict, {problems(6)[0]: TRIES - 1, problems(6)[1]: TRIES}

    async def failing(engine: Engine, request: PredictRequest) -> Prediction:
        text = request.input["text"]  # type: ignore[call-overload,index]
        if failures.get(text):
            failures[text] -= 1
            raise EngineUnavailable("the model failed at a step")
        return await predict(engine, request)

    monkeypatch.setattr(Engine, "predict", failing)
    tally = bulk.answer(0)
    assert (tally.rows, tally.errors, tally.first_error) == (2, {"unavailable": 1}, 2)
    assert "label" in bulk.records(0)[0]
    assert bulk.records(0)[1]["error"] == "the model failed at a step"


def test_a_model_that_fails_again_and_again_ends_the_work(
    bulk: Bulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(engine: Engine, request: PredictRequest) -> Prediction:
        raise EngineUnavailable("the model failed at a step")

    monkeypatch.setattr(Engine, "predict", failing)
    monkeypatch.setattr(Engine, "broken", True)
    with pytest.raises(WorkFailed, match="fails again and again: the model failed at a step"):
        bulk.answer(0)
    assert bulk.output.finished(bulk.survey) == {}


def test_a_file_that_changes_meanwhile_is_told(bulk: Bulk) -> None:
    survey = Survey("", rows=7, shard_rows=7, begins=bulk.survey.begins[:1])
    with pytest.raises(RowFileError, match="changed meanwhile"):
        bulk.answer(0, survey=survey)
