"""The soak: a service near its capacity, while models are replaced, and clients err or hang up."""

import asyncio
import itertools
import random
import shutil
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx

from export.verify import read_manifest, seal
from service.settings import EMBEDDED_STUDENT
from tasks.task import Task
from tests.soak.caller import Tally, closed_loop, connect, open_loop
from tests.soak.traffic import MAX_BODY_BYTES, PREDICTIONS, Answers, Traffic
from tests.support.bundles import TASK, copy_bundle, write_bundle
from tests.support.server_process import TIMEOUT, Server, serve
from tests.support.tiny_students import problems, tiny_student

EMBEDDED, MADE = "svamp-numbers", "made"
WEIGHTS = ("a", "b")  # of the made model, loaded in turns
CLOSED = {"labels": ["more", "less", "as many", "more or less"], "answer": None, "examples": []}
KEY = "secret"
CLIENTS = 32
CROWD = 400  # clients: more than the service takes at once, so that memory reaches its peak
LEAVING = 0.1  # share of the requests for predictions whose clients do not wait for the answer
LAST = 12  # requests in flight when the service is told to stop
LOAD = 0.8  # of the capacity
WINDOW = 60.0  # seconds of samples whose median is taken, as memory varies while models are loaded


@dataclass(frozen=True)
class Plan:
    seconds: float
    capacity_seconds: float = 8.0
    reload_every: float = 30.0  # seconds
    texts: int = 40


@dataclass
class Soak:
    """The results. Memory is in bytes, with the seconds since the start."""

    tally: Tally
    capacity: float = 0.0  # requests a second
    rate: float = 0.0  # requests a second that were really sent
    seconds: float = 0.0
    loads: int = 0  # of models, asked for by POST
    sighups: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list)
    in_flight: int = 0  # at SIGTERM
    stop_seconds: float = 0.0
    exit_status: int | None = None

    def memory_after(self, seconds: float) -> float:
        """The median memory in the WINDOW seconds after that time."""
        return statistics.median(
            size for at, size in self.memory if seconds <= at <= seconds + WINDOW
        )


def run(folder: Path, plan: Plan) -> Soak:
    """Runs the plan. `folder` must be empty. The tally has the faults."""
    bundles = Bundles(folder)
    settings = {
        "DUET_MODELS": str(bundles.served),
        "DUET_ADMIN_KEYS": KEY,
        "DUET_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
    }
    log = folder / "log"
    with serve(log, **settings) as server:
        soak = asyncio.run(_Run(server, bundles, plan).run())
    if "Traceback" in (text := log.read_text()):
        soak.tally.fault(f"the log has a traceback: {text[text.index('Traceback') :]}")
    return soak


class Bundles:
    """The served models, and how new versions replace them."""

    def __init__(self, folder: Path) -> None:
        self.served = folder / "models"
        self._made = {name: folder / name for name in WEIGHTS}
        self._numbers = itertools.count(1)
        self.served.mkdir()
        for seed, (name, path) in enumerate(self._made.items()):
            task = Task.model_validate(TASK.model_dump() | CLOSED)
            write_bundle(path, tiny_student(seed=seed), name=MADE, version=f"{name}-0", task=task)
        copy_bundle(EMBEDDED_STUDENT, self.served / EMBEDDED, version="only-0")
        shutil.copytree(self._made[WEIGHTS[0]], self.served / MADE)

    def replace_made(self, weights: str) -> str:
        """Writes those weights over the made model, and returns their version."""
        shutil.copytree(self._made[weights], self.served / MADE, dirs_exist_ok=True)
        return self._renew(MADE, weights)

    def renew_embedded(self) -> str:
        return self._renew(EMBEDDED, "only")

    def _renew(self, model: str, weights: str) -> str:
        version = f"{weights}-{next(self._numbers)}"
        manifest = read_manifest(self.served / model)
        seal(self.served / model, manifest.model_copy(update={"version": version}))
        return version


class _Run:
    def __init__(self, server: Server, bundles: Bundles, plan: Plan) -> None:
        self.server = server
        self.bundles = bundles
        self.plan = plan
        self.rng = random.Random(0)
        self.traffic = Traffic(Answers(problems(plan.texts)), (EMBEDDED, MADE), self.rng)

    async def run(self) -> Soak:
        await asyncio.to_thread(self._learn)
        async with connect(self.server.url) as caller:
            self.caller = caller
            self.soak = Soak(caller.tally)
            await closed_loop(self.plan.capacity_seconds / 4, CROWD, self._call)
            self.soak.capacity = await closed_loop(self.plan.capacity_seconds, CLIENTS, self._call)
            caller.tally.outcomes.clear()
            caller.tally.latencies.clear()
            with self._beside(self._reload(), self._watch_memory()):
                started = time.perf_counter()
                async with asyncio.TaskGroup() as group:
                    self.soak.rate = await open_loop(
                        LOAD * self.soak.capacity,
                        self.plan.seconds,
                        self._call_or_leave,
                        self.rng,
                        group,
                    )
                self.soak.seconds = time.perf_counter() - started
            await self._check_nothing_is_left()
            await self._stop()
        return self.soak

    def _learn(self) -> None:
        headers = {"authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=self.server.url, timeout=TIMEOUT, headers=headers) as client:
            self.traffic.answers.learn(client, EMBEDDED)
            for weights in reversed(WEIGHTS):
                self.bundles.replace_made(weights)
                client.post(f"/admin/models/{MADE}/load").raise_for_status()
                self.traffic.answers.learn(client, MADE)

    async def _call(self) -> None:
        await self.caller.call(self.traffic.draw())

    async def _call_or_leave(self) -> None:
        case = self.traffic.draw()
        if case.kind in PREDICTIONS and self.rng.random() < LEAVING:
            await self.caller.call_and_leave(case, self.rng)
        else:
            await self.caller.call(case)

    @contextmanager
    def _beside(self, *work: Coroutine[Any, Any, None]) -> Iterator[None]:
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield
        finally:
            for task in tasks:
                if task.done():
                    task.result()
                task.cancel()

    async def _watch_memory(self) -> None:
        started = time.perf_counter()
        while True:
            self.soak.memory.append((time.perf_counter() - started, self.server.resident))
            await asyncio.sleep(1)

    async def _reload(self) -> None:
        """Replaces the models every period, and loads them by requests or by a signal."""
        await asyncio.sleep(self.plan.reload_every / 2)
        for number in itertools.count():
            started = time.perf_counter()
            weights = WEIGHTS[(number + 1) % 2]
            made = await asyncio.to_thread(self.bundles.replace_made, weights)
            embedded = await asyncio.to_thread(self.bundles.renew_embedded)
            if number % 3 == 2:
                self.server.process.send_signal(signal.SIGHUP)
                self.soak.sighups += 1
            else:
                for model in (MADE, EMBEDDED):
                    await self._load(model)
            await self._wait_for_versions({MADE: made, EMBEDDED: embedded})
            await asyncio.sleep(max(0, started + self.plan.reload_every - time.perf_counter()))

    async def _load(self, model: str) -> None:
        headers = {"x-api-key": KEY}
        path = f"/admin/models/{model}/load"
        async with self.caller.session.post(path, headers=headers) as response:
            if response.status != 200:
                self.soak.tally.fault(f"{path}: {response.status} {await response.text()}")
        self.soak.loads += 1

    async def _wait_for_versions(self, wanted: dict[str, str]) -> None:
        async def missing() -> str:
            async with self.caller.session.get("/models") as response:
                versions = {model["name"]: model["version"] for model in await response.json()}
            return "" if versions == wanted else f"{versions} are served, and not {wanted}"

        await self._wait_while(missing)

    async def _check_nothing_is_left(self) -> None:
        """Checks that the service holds nothing of answered requests, or of clients that left."""

        async def left() -> str:
            async with self.caller.session.get("/metrics") as response:
                lines = (await response.text()).splitlines()
            held = [
                line
                for line in lines
                if line.startswith(("duet_slots_in_use{", "duet_inputs_in_work{"))
                and not line.endswith(" 0.0")
            ]
            return f"nobody asks any more, but {held}" if held else ""

        await self._wait_while(left)

    async def _wait_while(self, complaint: Callable[[], Awaitable[str]]) -> None:
        """Waits until there is no complaint. One that lasts TIMEOUT seconds is a fault."""
        deadline = time.perf_counter() + TIMEOUT
        while found := await complaint():
            if time.perf_counter() > deadline:
                self.soak.tally.fault(found)
                return
            await asyncio.sleep(0.1)

    async def _stop(self) -> None:
        """Sends SIGTERM. Requests in flight must be answered; those after it may be refused."""
        last = [
            asyncio.create_task(self.caller.call(self.traffic.list(16, explain=True)))
            for _ in range(LAST)
        ]
        for _ in range(2):  # its answer shows that the service has read those requests
            async with self.caller.session.get("/livez") as response:
                await response.read()
        self.soak.in_flight = sum(not task.done() for task in last)
        started = time.perf_counter()
        self.server.process.send_signal(signal.SIGTERM)
        late = [
            self.caller.call(self.traffic.explained(), may_be_refused=True) for _ in range(LAST)
        ]
        await asyncio.gather(*last, *late)
        self.soak.exit_status = await asyncio.to_thread(self.server.process.wait, TIMEOUT)
        self.soak.stop_seconds = time.perf_counter() - started
