"""Duet's own costs: HTTP, the start, memory, and how a step compares with the memory's bandwidth.

Speculation is off in all of them.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from tokenizers import Tokenizer

from export.bundle import DECODER, TOKENIZER
from tests.benchmarks.duet import Duet
from tests.benchmarks.effort import Effort
from tests.benchmarks.geometry import LABEL_TOKENS, Geometry
from tests.benchmarks.layout import PRECISIONS
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.peers import THREADS
from tests.benchmarks.servers import duet_server
from tests.benchmarks.serving import CLIENTS, bodies
from tests.benchmarks.work import Wants, Work, work_on
from tests.benchmarks.workers import Workers, in_a_process

ARRAY_BYTES = 2**29  # much more than a processor's caches


@dataclass(frozen=True)
class Step:
    """A decoder step of one row: its seconds, and the bytes of weights that it reads."""

    precision: str
    seconds: float
    weights: int


@dataclass(frozen=True)
class Footprint:
    precision: str
    ready: float  # seconds from the start of the process
    bundle: int  # bytes
    resident: int  # bytes, after load and traffic


def http_overhead(geometry: Geometry, folder: Path, effort: Effort) -> tuple[float, float]:
    """Median seconds of a label, through HTTP and from the engine directly, in turns."""
    bundle = folder / "int8-closed"
    work = _work(geometry, bundle, "label")
    body = {"inputs": work.texts[0]}
    through_http: list[float] = []
    through_engine: list[float] = []
    with (
        duet_server(bundle, folder / "duet.log") as server,
        Workers({"engine": (Duet, {"label": bundle}, False)}) as workers,
    ):
        for _ in range(effort.rounds):
            load: Load = in_a_process(run_load, f"{server.url}/predict", [body], 1, 5, 20)
            through_http += load.latencies
            seconds, _ = workers.call("engine", "turn", work, "predict", effort.turn_seconds)
            through_engine.append(seconds)
    return statistics.median(through_http), statistics.median(through_engine)


def footprint(geometry: Geometry, folder: Path, precision: str, effort: Effort) -> Footprint:
    """The footprint of a server of one bundle: medians of some starts, and memory after traffic."""
    bundle = folder / f"{precision}-closed"
    ready = []
    for number in range(effort.starts):
        started = time.perf_counter()
        with duet_server(bundle, folder / "duet.log") as server:
            ready.append(time.perf_counter() - started)
            if number == effort.starts - 1:
                url = f"{server.url}/predict"
                in_a_process(run_load, url, bodies(geometry), CLIENTS, CLIENTS, CLIENTS)
                resident = psutil.Process(server.process.pid).memory_full_info().pss
    size = sum(path.stat().st_size for path in bundle.iterdir())
    return Footprint(precision, statistics.median(ready), size, resident)


def steps(geometry: Geometry, folder: Path, effort: Effort) -> list[Step]:
    """Decoder steps. The difference of long and short texts excludes the encoder and the set-up."""
    measured = []
    for precision in PRECISIONS:
        long, short = folder / f"{precision}-open", folder / f"{precision}-short"
        work = _work(geometry, long, "rationale")
        makers = {
            name: (Duet, {"rationale": bundle}, False)
            for name, bundle in {"long": long, "short": short}.items()
        }
        times: dict[str, list[float]] = {name: [] for name in makers}
        with Workers(makers) as workers:
            for _ in range(effort.rounds):
                for name in workers:
                    turn = workers.call(name, "turn", work, "predict", effort.turn_seconds)
                    times[name].append(turn[0])
        difference = statistics.median(times["long"]) - statistics.median(times["short"])
        seconds = difference / (geometry.rationale_tokens - LABEL_TOKENS)
        measured.append(Step(precision, seconds, (long / DECODER).stat().st_size))
    return measured


def memory_bandwidth() -> float:
    """Bytes per second that a peer's number of threads can read, the best of some tries."""
    array = np.ones(ARRAY_BYTES // 4, np.float32)
    parts = np.split(array, THREADS)
    best = float("inf")
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(10):
            started = time.perf_counter()
            list(threads.map(np.max, parts))  # numpy's fastest reduction
            best = min(best, time.perf_counter() - started)
    return array.nbytes / best


def _work(geometry: Geometry, bundle: Path, wants: Wants) -> Work:
    return work_on(
        Tokenizer.from_file(str(bundle / TOKENIZER)),
        geometry.texts(1),
        wants,
        label_tokens=LABEL_TOKENS,
        rationale_tokens=geometry.rationale_tokens,
        candidates=geometry.candidates(),
    )
