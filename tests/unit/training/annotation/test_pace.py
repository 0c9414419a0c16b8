import asyncio

import pytest

from training.annotation.pace import Pace


class Clock:
    """Time that passes only where somebody rests."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    async def rest(self, pace: Pace, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("training.annotation.pace.time", clock)

    async def rest(self: Pace, seconds: float) -> None:
        await clock.rest(self, seconds)

    monkeypatch.setattr(Pace, "rest", rest)
    return clock


def turns(clock: Clock, pace: Pace, *requests: tuple[int, int]) -> list[float]:
    """When requests are let through, by the tokens they are thought to take, and do take."""

    async def take() -> list[float]:
        times = []
        for guess, actual in requests:
            await pace.turn(guess)
            times.append(clock.now - 1000)
            pace.correct(actual - guess)
        return times

    return asyncio.run(take())


def test_without_limits_nobody_waits(clock: Clock) -> None:
    assert turns(clock, Pace(asyncio.Event()), *[(1000, 1000)] * 5) == [0] * 5


def test_requests_come_at_even_distances(clock: Clock) -> None:
    pace = Pace(asyncio.Event(), requests_a_minute=120)
    assert turns(clock, pace, *[(1000, 1000)] * 5) == pytest.approx([0, 0.5, 1, 1.5, 2])
    clock.now += 60  # an idle minute buys no burst
    assert turns(clock, pace, *[(0, 0)] * 3) == pytest.approx([62.0, 62.5, 63])


def test_tokens_are_paid_for_in_time(clock: Clock) -> None:
    pace = Pace(asyncio.Event(), tokens_a_minute=6000)
    requests = [(100, 100), (300, 300), (50, 50), (100, 100)]
    assert turns(clock, pace, *requests) == pytest.approx([0, 1, 4, 4.5])


def test_what_was_guessed_too_high_or_too_low_is_made_good(clock: Clock) -> None:
    pace = Pace(asyncio.Event(), tokens_a_minute=6000)
    requests = [(1000, 100), (1000, 100), (100, 400), (100, 100)]
    assert turns(clock, pace, *requests) == pytest.approx([0, 1, 2, 6])


def test_of_both_limits_the_tighter_one_holds(clock: Clock) -> None:
    pace = Pace(asyncio.Event(), requests_a_minute=60, tokens_a_minute=6000)
    requests = [(10, 10), (300, 300), (10, 10), (10, 10)]
    assert turns(clock, pace, *requests) == pytest.approx([0, 1, 4, 5])


def test_a_pause_holds_everybody_and_a_shorter_one_changes_nothing(clock: Clock) -> None:
    pace = Pace(asyncio.Event(), requests_a_minute=600)
    pace.pause(7)
    pace.pause(2)
    assert turns(clock, pace, *[(0, 0)] * 3) == pytest.approx([7, 7.1, 7.2])


def test_no_minute_has_more_than_its_limits(clock: Clock) -> None:
    pace = Pace(asyncio.Event(), requests_a_minute=40, tokens_a_minute=9000)
    actual = [50 + 37 * n % 400 for n in range(200)]
    times = turns(clock, pace, *((512, tokens) for tokens in actual))
    for start in range(200):
        minute = [n for n in range(start, 200) if times[n] < times[start] + 60 - 1e-6]
        assert len(minute) <= 40
        assert sum(actual[n] for n in minute[:-1]) <= 9000
    each = [max(60 / 40, tokens * 60 / 9000) for tokens in actual]
    assert times[-1] == pytest.approx(sum(each[:-1]))  # and nobody waits longer than that


def test_nobody_waits_once_all_is_stopped() -> None:
    async def turn() -> None:
        stopped = asyncio.Event()
        pace = Pace(stopped, requests_a_minute=0.001)
        await pace.turn(0)
        waiting = asyncio.gather(pace.turn(0), pace.turn(0), pace.rest(10_000))
        await asyncio.sleep(0)
        stopped.set()
        await waiting

    asyncio.run(turn())
