"""Sends requests to a service, and keeps a tally of what became of them."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.soak.traffic import Case, WrongAnswer

TIMEOUT = 120  # seconds: more than the service takes for anything
KEEP_ALIVE = 3  # seconds, fewer than the service's, so that nobody sends where it hangs up
CONNECTIONS = 512
MAX_FAULTS = 20  # that are told of

Answer = tuple[int, Mapping[str, str], bytes]  # status, headers, content


@dataclass
class Tally:
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind of request
    latencies: defaultdict[str, list[float]] = field(  # seconds, by outcome
        default_factory=lambda: defaultdict(list)
    )
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(text[:1000])

    def count(self, *outcomes: str) -> int:
        """Requests with these outcomes, or all."""
        return sum(n for (_, one), n in self.outcomes.items() if not outcomes or one in outcomes)

    def centile(self, outcome: str, share: float) -> float:
        """Seconds that this share of the requests with that outcome did not exceed; 0 for none."""
        latencies = sorted(self.latencies[outcome])
        return latencies[int(share * (len(latencies) - 1))] if latencies else 0.0


class Caller:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.tally = Tally()

    async def call(self, case: Case, *, may_be_refused: bool = False) -> None:
        """`may_be_refused` is for a service that has been told to stop."""
        started = time.perf_counter()
        try:
            outcome = case.check(*await self.send(case))
        except WrongAnswer as error:
            outcome = "wrong"
            self.tally.fault(f"{case.kind}: {error}")
        except (aiohttp.ClientConnectionError, ConnectionError) as error:
            outcome = "turned away" if may_be_refused else "lost"
            if not may_be_refused:
                self.tally.fault(f"{case.kind}: no answer, but {error!r}")
        except Exception as error:  # of the client, of time, or of an answer that cannot be read
            outcome = "lost"
            self.tally.fault(f"{case.kind}: {error!r}")
        self.tally.outcomes[case.kind, outcome] += 1
        self.tally.latencies[outcome].append(time.perf_counter() - started)

    async def send(self, case: Case) -> Answer:
        async with self.session.request(
            case.method, case.path, data=case.body, headers=case.headers
        ) as response:
            return response.status, response.headers, await response.read()

    async def call_and_leave(self, case: Case, rng: random.Random) -> None:
        """Sends half of the body, or all, or waits for a stream to begin; and closes."""
        assert case.body is not None
        half = rng.random() < 0.3
        begun = case.kind == "stream" and not half
        size = {"content-length": str(len(case.body))}
        body = _stalled(case.body) if half else case.body
        patience = TIMEOUT if begun else rng.uniform(0, 0.05)
        try:
            async with (
                asyncio.timeout(patience),
                self.session.request(
                    case.method, case.path, data=body, headers=case.headers | size
                ) as response,
            ):
                if begun:
                    await response.content.readuntil(b"\n\n")
                response.close()
        except TimeoutError:
            if begun:
                self.tally.fault(f"{case.kind}, leaving: no event in {TIMEOUT} seconds")
        except Exception as error:
            self.tally.fault(f"{case.kind}, leaving: {error!r}")
        self.tally.outcomes[case.kind, "left"] += 1


async def _stalled(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    await asyncio.sleep(TIMEOUT)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Caller]:
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE)
    limits = aiohttp.ClientTimeout(total=TIMEOUT)
    async with aiohttp.ClientSession(
        url, connector=connector, timeout=limits, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield Caller(session)


async def closed_loop(seconds: float, clients: int, call: Callable[[], Awaitable[None]]) -> float:
    """Calls a second of so many clients, each of which calls again once it has its answer."""
    started, calls = time.perf_counter(), 0

    async def client() -> None:
        nonlocal calls
        while time.perf_counter() < started + seconds:
            await call()
            calls += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return calls / (time.perf_counter() - started)


async def open_loop(
    rate: float,
    seconds: float,
    call: Callable[[], Coroutine[Any, Any, None]],
    rng: random.Random,
    group: asyncio.TaskGroup,
) -> float:
    """Begins `rate` calls a second in the group, at random moments, whatever became of others.

    Returns how many a second it has begun: fewer where this process cannot keep up.
    """
    loop = asyncio.get_running_loop()
    began = due = loop.time()
    count = 0
    while due < began + seconds:
        if (delay := due - loop.time()) > 0:
            await asyncio.sleep(delay)
        group.create_task(call())
        count += 1
        due += rng.expovariate(rate)
        if delay <= 0 and count % 100 == 0:
            await asyncio.sleep(0)  # for the calls, where this is late
    return count / max(loop.time() - began, seconds)
