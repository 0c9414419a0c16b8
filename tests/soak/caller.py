"""Sends requests to a service, and counts their outcomes."""

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

TIMEOUT = 120  # seconds: longer than any answer of the service takes
KEEP_ALIVE = 3  # seconds, shorter than the service's, so that the service never hangs up first
CONNECTIONS = 512
MAX_FAULTS = 20  # that are kept

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
        """The number of requests with these outcomes, or of all requests."""
        return sum(n for (_, one), n in self.outcomes.items() if not outcomes or one in outcomes)

    def centile(self, outcome: str, share: float) -> float:
        """The seconds that this share of requests with the outcome did not exceed; 0 for none."""
        latencies = sorted(self.latencies[outcome])
        return latencies[int(share * (len(latencies) - 1))] if latencies else 0.0


class Caller:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.tally = Tally()

    async def call(self, case: Case, *, may_be_refused: bool = False) -> None:
        """Sends a request and counts its outcome. A service that stops may refuse it."""
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
        except Exception as error:  # of the client, a timeout, or an answer that cannot be read
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
        """Sends half of the body, or all, or waits for the first event of a stream. Then closes."""
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
    """The calls a second of `clients` clients, each of which calls again after its answer."""
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
    """Starts `rate` calls a second in the group, at random moments, without waiting for answers.

    Returns the rate that it reached: lower where this process cannot keep up.
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
            await asyncio.sleep(0)  # lets the calls run where this is late
    return count / max(loop.time() - began, seconds)
