import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from training.annotation.answer_store import Spent
from training.annotation.budget import Budget, Prices
from training.annotation.completion import Completion
from training.annotation.progress import Progress


@dataclass
class Tried:
    """What an endpoint tells of itself."""

    retries: int = 0
    trouble: str = ""


def test_a_bar_tells_rows_a_second_tokens_cost_and_what_is_tried_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.annotation.progress.EVERY_IN_LOGS", 0.0)
    spent, endpoint = Spent(), Tried()
    budget = Budget(spent, Prices(1.0, 2.0), None)
    progress = Progress("teacher", 10, spent, budget, endpoint)

    async def run() -> None:
        async with progress.showing():
            for _ in range(4):
                progress.advance()
            spent.add(Completion("So.", input_tokens=1_000_000, output_tokens=250_000))
            endpoint.retries, endpoint.trouble = (
                7,
                "Error code: 429 - {'error': 'too many requests'}",
            )
            await asyncio.sleep(0.01)  # nothing is answered, and yet it moves
            assert "tried again 7 times" in capsys.readouterr().err

    asyncio.run(run())
    last = capsys.readouterr().err.split("\r")[-1]
    assert "| 4/10 [" in last
    assert "row/s" in last
    assert "<" in last  # the time left
    assert "1,250,000 tokens, cost 1.5000, tried again 7 times (last: Error code: 429" in last


def test_rows_of_an_earlier_run_count_but_not_for_the_speed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    budget: Any = Budget(Spent(), None, None)
    progress = Progress("teacher", 1000, Spent(), budget, Tried())
    for _ in range(900):
        progress.skip()
    progress.advance()
    told = progress._bar.format_dict
    assert (told["n"], told["initial"], told["total"]) == (901, 900, 1000)
    assert progress._bar._ema_dn() in (0, 1)  # by which tqdm tells the rate
    progress.say("stopping")
    progress._bar.close()
    assert "teacher: stopping\n" in capsys.readouterr().err
