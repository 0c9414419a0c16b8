import asyncio
import time

import pytest

from service.admission import Admission
from service.errors import DeadlineExceeded, Overloaded


def retry_after(error: pytest.ExceptionInfo[Overloaded]) -> int:
    return int(error.value.headers["Retry-After"])


def test_requests_come_in_whole_or_not_at_all() -> None:
    async def run() -> None:
        admission = Admission(4, timeout=60)
        async with admission.admit(3):
            with pytest.raises(Overloaded, match="3 of at most 4 inputs are in work already"):
                async with admission.admit(2):
                    pytest.fail("it came in")
            assert admission.inputs == 3
            assert not admission.full
            async with admission.admit(1):
                assert admission.full
        assert admission.inputs == 0

    asyncio.run(run())


def test_a_request_larger_than_the_bound_may_come_in_alone() -> None:
    async def run() -> None:
        admission = Admission(4, timeout=60)
        async with admission.admit(32):
            with pytest.raises(Overloaded):
                async with admission.admit(1):
                    pytest.fail("it came in")
        async with admission.admit(1):
            with pytest.raises(Overloaded) as refused:
                async with admission.admit(32):
                    pytest.fail("it came in")
            assert retry_after(refused) == 1
            assert str(refused.value).endswith(
                "a list of 32 must wait until none is; send fewer at once"
            )

    asyncio.run(run())


@pytest.mark.parametrize(("inputs", "seconds"), [(1, 10), (2, 20), (4, 40), (9, 40)])
def test_retry_after_is_the_time_until_so_many_leave(
    inputs: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four are in work and a request takes 40 seconds: every 10 seconds one leaves."""
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    async def run() -> None:
        nonlocal now
        admission = Admission(4, timeout=60)
        for _ in range(3):
            async with admission.admit(1):
                now += 40
        async with admission.admit(4):
            with pytest.raises(Overloaded) as refused:
                async with admission.admit(inputs):
                    pytest.fail("it came in")
        assert retry_after(refused) == seconds

    asyncio.run(run())


def test_a_request_past_its_deadline_is_cancelled() -> None:
    async def run() -> None:
        admission = Admission(4, timeout=0.01)
        never = asyncio.get_running_loop().create_future()
        with pytest.raises(DeadlineExceeded, match=r"within 0\.01 seconds"):
            async with admission.admit(2):
                await never
        assert never.cancelled()
        assert admission.inputs == 0

    asyncio.run(run())


@pytest.mark.parametrize(("own", "seconds"), [(None, 60), (2.5, 2.5), (600, 60)])
def test_a_request_may_shorten_its_time(
    own: float | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        timeout, asked = asyncio.timeout, []
        monkeypatch.setattr(asyncio, "timeout", lambda delay: asked.append(delay) or timeout(delay))
        async with Admission(4, timeout=60).admit(1, own):
            assert asked == [seconds]

    asyncio.run(run())


@pytest.mark.parametrize("error", [TimeoutError("of another kind"), ZeroDivisionError()])
def test_errors_and_cancellation_pass_and_give_back_the_places(error: Exception) -> None:
    async def run() -> None:
        admission = Admission(4, timeout=60)
        with pytest.raises(type(error)):
            async with admission.admit(2):
                raise error

        async def hold() -> None:
            async with admission.admit(2):
                await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(hold())
        await asyncio.sleep(0)
        assert admission.inputs == 2
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert admission.inputs == 0

    asyncio.run(run())


def test_drained_is_who_has_nothing_in_work() -> None:
    async def run() -> None:
        admission = Admission(4, timeout=60)
        await admission.drained()
        async with admission.admit(1):
            async with admission.admit(2):
                waiting = asyncio.create_task(admission.drained())
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
        with pytest.raises(DeadlineExceeded):
            async with admission.admit(1, timeout=0.001):
                await asyncio.sleep(60)
        await admission.drained()

    asyncio.run(run())
