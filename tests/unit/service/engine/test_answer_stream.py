import asyncio

import pytest

from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest
from tests.support.engine_answers import Streamed, collect, predict
from tests.support.stepped_runner import SteppedRunner
from tests.support.tiny_students import problems


@pytest.mark.parametrize("explain", [False, True])
def test_a_stream_holds_what_the_prediction_holds(engine: Engine, explain: bool) -> None:
    requests = [PredictRequest(text, explain) for text in problems(12)]

    async def stream_all() -> list[Streamed]:
        return await asyncio.gather(*(collect(engine, request) for request in requests))

    streams = asyncio.run(stream_all())
    for (label, pieces, whole), alone in zip(streams, predict(engine, *requests), strict=True):
        assert label.rationale in (None, whole.rationale)  # the latter where both end at once
        for name in ("label", "confidence", "answer", "scores"):
            assert getattr(label, name) == getattr(whole, name) == getattr(alone, name)
        assert whole.rationale == alone.rationale
        assert "".join(pieces) == (alone.rationale or "")
        assert all(pieces)


def test_pieces_come_while_the_rationale_is_written(
    stepped_engine: Engine, runner: SteppedRunner
) -> None:
    """The label's last step also wrote a part of the rationale, and no further step is allowed."""
    request = PredictRequest(problems(1)[0], explain=True)

    async def steps_until_a_piece() -> tuple[int, Prediction]:
        async with stepped_engine.stream(request) as stream:
            label = asyncio.create_task(stream.label())
            while not label.done():
                await asyncio.to_thread(runner.wait_for_step)
                runner.allowed.release()
                await asyncio.sleep(0.01)
            piece = asyncio.ensure_future(anext(stream.rationale()))
            while not piece.done():
                await asyncio.sleep(0.01)
                runner.allowed.release()
            assert piece.result()
            seen = len(runner.rows)
            runner.release()
            return seen, await stream.prediction()

    seen, whole = asyncio.run(steps_until_a_piece())
    assert seen < whole.usage.decoder_steps


def test_a_closed_stream_gives_back_the_rows(stepped_engine: Engine, runner: SteppedRunner) -> None:
    async def leave() -> Prediction:
        request = PredictRequest(problems(1)[0], explain=True)
        gone = asyncio.create_task(collect(stepped_engine, request))
        runner.allowed.release(2)
        for _ in range(3):
            await asyncio.to_thread(runner.wait_for_step)
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        runner.release()
        return await stepped_engine.predict(PredictRequest("Ann has 3 apples"))

    prediction = asyncio.run(leave())
    assert runner.rows == [2] * 3 + [1] * prediction.usage.decoder_steps


def test_the_engine_outlives_the_loop_that_listened(
    stepped_engine: Engine, runner: SteppedRunner
) -> None:
    async def leave_in_a_step() -> None:
        stream = asyncio.create_task(collect(stepped_engine, PredictRequest("Ann", explain=True)))
        await asyncio.to_thread(runner.wait_for_step)
        stream.cancel()

    asyncio.run(leave_in_a_step())
    runner.release()  # the step ends, and its listener's loop is closed
    (prediction,) = predict(stepped_engine, PredictRequest("Ann has 3 apples"))
    assert prediction.label
