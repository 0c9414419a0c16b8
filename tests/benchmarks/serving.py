"""Case (c): servers under load; half of the requests ask to be explained."""

import statistics
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.effort import Effort
from tests.benchmarks.geometry import Geometry
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.servers import LitServeSettings, duet_server, litserve_server
from tests.benchmarks.workers import in_a_process

CLIENTS = 32
TRIAL_REQUESTS = 64


@dataclass(frozen=True)
class Served:
    """What clients measured of a server. Latencies are in seconds."""

    server: str
    requests: int
    per_second: float
    p50: float
    p99: float


def bodies(geometry: Geometry) -> list[dict[str, Any]]:
    texts = geometry.texts(CLIENTS)
    return [{"inputs": text, "explain": i % 2 == 0} for i, text in enumerate(texts)]


def measure(
    geometry: Geometry,
    folder: Path,
    peers: Collection[str],
    effort: Effort,
    log: Callable[[str], None],
) -> list[Served]:
    """Measures Duet's server, and LitServe with its best settings, in turns."""
    servers: dict[str, Callable[[], Any]] = {"Duet int8": lambda: _duet(folder)}
    if "litserve" in peers:
        best = _best_settings(geometry, folder, log)
        servers[f"LitServe, CTranslate2 {best}"] = lambda: _litserve(best, geometry, folder)
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    for number in range(1, effort.server_rounds + 1):
        for name, start in servers.items():
            log(f"round {number} of {effort.server_rounds}: {name}")
            with start() as url:
                loads[name].append(_load(geometry, url, effort.requests))
    return [_served(name, of_server) for name, of_server in loads.items()]


def _best_settings(
    geometry: Geometry, folder: Path, log: Callable[[str], None]
) -> LitServeSettings:
    """The best batch size and workers, then the best timeout, then the best precision."""
    rates: dict[LitServeSettings, float] = {}

    def best_of(candidates: Iterator[LitServeSettings]) -> LitServeSettings:
        for settings in candidates:
            if settings not in rates:
                with _litserve(settings, geometry, folder) as url:
                    rates[settings] = _load(geometry, url, TRIAL_REQUESTS).per_second
                log(f"LitServe, {settings}: {rates[settings]:.1f} requests/s")
        return max(rates, key=lambda settings: rates[settings])

    best = best_of(
        LitServeSettings(max_batch_size=size, workers=workers)
        for size in (4, 8, 16, 32)
        for workers in (1, 2)
    )
    best = best_of(replace(best, batch_timeout=seconds) for seconds in (0.0, 0.05))
    return best_of(replace(best, compute_type=kind) for kind in ("float32",))


def _load(geometry: Geometry, url: str, requests: int) -> Load:
    load: Load = in_a_process(
        run_load, f"{url}/predict", bodies(geometry), CLIENTS, CLIENTS, requests
    )
    explained = [answer["rationale"].split() for answer in load.answers if "rationale" in answer]
    if [len(words) for words in explained] != [geometry.rationale_tokens] * (requests // 2):
        raise RuntimeError(f"{url} did not write {requests // 2} rationales of the wanted length")
    return load


def _served(name: str, loads: list[Load]) -> Served:
    latencies = [seconds for load in loads for seconds in load.latencies]
    centiles = statistics.quantiles(latencies, n=100)
    return Served(
        name,
        len(latencies),
        len(latencies) / sum(load.seconds for load in loads),
        centiles[49],
        centiles[98],
    )


@contextmanager
def _duet(folder: Path) -> Iterator[str]:
    with duet_server(folder / "int8-closed", folder / "duet.log") as server:
        yield server.url


@contextmanager
def _litserve(settings: LitServeSettings, geometry: Geometry, folder: Path) -> Iterator[str]:
    with litserve_server(settings, geometry, folder, folder / "litserve.log") as url:
        yield url
