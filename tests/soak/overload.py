"""Overload: far more requests than a service can answer, sent without waiting for answers."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx

from tests.soak.caller import Caller, Tally, closed_loop, connect, open_loop
from tests.soak.crowd import gather_crowd
from tests.soak.traffic import Answers, Traffic
from tests.support.bundles import copy_bundle
from tests.support.server_process import TIMEOUT, Server, serve

NAME = "student"
CLIENTS = 32
EASY = 0.5  # of the capacity: the load before and after
LIVE_EVERY = 0.25  # seconds


@dataclass(frozen=True)
class Plan:
    seconds: float
    student: str  # its name, for readers
    bundle: Path
    texts: Sequence[str]  # inputs of the requests
    times: float = 10.0  # the capacity
    deadline: float = 5.0  # seconds that the service has for an answer
    recovery: float = 2.0  # seconds after which all must be as before
    calm_seconds: float = 4.0  # before and after
    max_queue: int = 256  # fewer requests than it answers in `recovery`


@dataclass
class Overload:
    capacity: float = 0.0  # requests a second
    rate: float = 0.0  # requests a second that were really sent
    before: Tally = field(default_factory=Tally)
    during: Tally = field(default_factory=Tally)
    after: Tally = field(default_factory=Tally)
    live: list[float] = field(default_factory=list)  # seconds that /livez took
    faults: list[str] = field(default_factory=list)


def run(folder: Path, plan: Plan) -> Overload:
    """Runs the plan. `folder` must be empty."""
    copy_bundle(plan.bundle, folder / "student", name=NAME, version="only-0")
    settings = {
        "DUET_MODELS": str(folder / "student"),
        "DUET_TIMEOUT": str(plan.deadline),
        "DUET_MAX_QUEUE": str(plan.max_queue),
    }
    log = folder / "log"
    with serve(log, **settings) as server:
        overload = asyncio.run(_Run(server, plan).run())
    if "Traceback" in log.read_text():
        overload.faults.append("the log has a traceback")
    return overload


class _Run:
    def __init__(self, server: Server, plan: Plan) -> None:
        self.server = server
        self.plan = plan
        self.rng = random.Random(0)
        self.overload = Overload()

    async def run(self) -> Overload:
        plan, overload = self.plan, self.overload
        traffic = Traffic(Answers(plan.texts), (NAME,), self.rng)
        with httpx.Client(base_url=self.server.url, timeout=TIMEOUT) as client:
            traffic.answers.learn(client, NAME)
        # made now, because later there is no time
        self.cases = [make() for make in (traffic.label, traffic.explained) for _ in range(100)]
        async with connect(self.server.url) as calm, gather_crowd(self.server.url) as crowd:
            call = self._call(calm)
            await closed_loop(1, CLIENTS, call)  # warms up
            overload.capacity = await closed_loop(plan.calm_seconds, CLIENTS, call)
            easy = EASY * overload.capacity
            overload.before = calm.tally = Tally()
            await self._offer(easy, plan.calm_seconds, calm)
            watch = asyncio.create_task(self._watch())
            overload.during = crowd.tally
            try:
                async with (
                    asyncio.timeout(plan.seconds + plan.calm_seconds + TIMEOUT),
                    asyncio.TaskGroup() as group,
                ):
                    overload.rate = await open_loop(
                        plan.times * overload.capacity,
                        plan.seconds,
                        self._call(crowd),
                        self.rng,
                        group,
                    )
                    await asyncio.sleep(plan.recovery)
                    overload.after = calm.tally = Tally()
                    await self._offer(easy, plan.calm_seconds, calm)
            except TimeoutError:
                overload.faults.append(f"some are not answered {TIMEOUT} seconds after the last")
            watch.cancel()
            calm.tally = Tally()
            await closed_loop(0.5, 1, call)  # one by one, so that there is room for each
        if calm.tally.count("answered") != calm.tally.count():
            overload.faults.append(f"it does not recover: {calm.tally.outcomes}")
        for tally in (overload.before, overload.during, overload.after, calm.tally):
            overload.faults += tally.faults
        return overload

    def _call(self, caller: Caller) -> Callable[[], Coroutine[Any, Any, None]]:
        return lambda: caller.call(self.rng.choice(self.cases))

    async def _offer(self, rate: float, seconds: float, caller: Caller) -> None:
        async with asyncio.TaskGroup() as group:
            await open_loop(rate, seconds, self._call(caller), self.rng, group)

    async def _watch(self) -> None:
        """Asks /livez on a connection of its own, as an orchestrator does."""
        async with connect(self.server.url) as prober:
            while True:
                started = time.perf_counter()
                async with prober.session.get("/livez") as response:
                    if response.status != 200:
                        self.overload.faults.append(f"/livez: {response.status}")
                self.overload.live.append(time.perf_counter() - started)
                await asyncio.sleep(LIVE_EVERY)
