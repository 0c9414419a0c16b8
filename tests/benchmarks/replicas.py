"""Two replicas on Ray Serve beside one: `python -m tests.benchmarks.replicas`, where Ray is."""

import argparse
import os
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from export.verify import read_manifest
from service.settings import EMBEDDED_STUDENT
from tests.benchmarks import machine
from tests.benchmarks.geometry import SMALL
from tests.benchmarks.load import Load, run_load
from tests.benchmarks.progress import log
from tests.benchmarks.report import Report, milliseconds
from tests.benchmarks.serving import bodies
from tests.benchmarks.workers import in_a_process
from tests.cluster.clusters import deploy, serving
from tests.support.simple_problems import problem
from training.reports.markdown import rewrite_block, table

CLIENTS = 64  # more than one replica has slots
TURNS = (1, 2, 1)  # replicas: one before and after two, in case the machine gets slower or faster
LEAST = 1.6  # times the throughput of one replica, the aim
SHARE = 0.6  # of a core for each replica: the clients and Ray's proxy have the rest


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the benchmark. Exits with 1 where an aim is missed."""
    arguments = _parse(argv)
    report = Report(
        f"{machine.processor()}. {machine.versions()}. Each replica has one thread, "
        f"and {SHARE:.0%} of a core of its own.",
        "make bench-ray",
    )
    cases = {
        "T5-small, int8": (arguments.bundle, bodies(SMALL), arguments.requests),
        "the embedded student": (EMBEDDED_STUDENT, word_problems(), 5 * arguments.requests),
    }
    rows = []
    with serving({}, num_replicas=1) as deployed:
        for case, (bundle, asked, requests) in cases.items():
            loads = measure(case, deployed.url, bundle, asked, requests)
            one, two = (
                statistics.mean(load.per_second for load in loads[replicas]) for replicas in (1, 2)
            )
            rows += [row(case, replicas, loads[replicas]) for replicas in (1, 2)]
            if case.startswith("T5-small"):
                report.aim(f"{case}: two replicas' requests/s / one's", two / one, least=LEAST)
    report.add(
        "Replicas on Ray",
        [
            f"{CLIENTS} concurrent clients; every other request asks to be explained. Clients and "
            "Ray's proxy have what replicas leave of the cores, which is little for the embedded "
            "student: Ray takes about as long for a request as it does.",
            table(("", "replicas", "requests", "requests/s", "p50, ms", "p99, ms"), rows),
        ],
    )
    arguments.out.write_text(report.markdown(), encoding="utf-8")
    if arguments.readme:
        rewrite_block(arguments.readme, "ray", report.summary())
    print(report.summary())
    sys.exit(not all(target.held for target in report.targets))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.replicas", description=__doc__
    )
    parser.add_argument(
        "bundle", type=Path, help="a T5-small, as `python -m tests.benchmarks.exports` writes it"
    )
    parser.add_argument("--requests", type=int, default=1000, help="requests of each turn (1000)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RAY.md"))
    parser.add_argument("--readme", type=Path, help="Markdown whose block is rewritten too")
    return parser.parse_args(argv)


def word_problems() -> list[dict[str, Any]]:
    rng = random.Random(0)
    return [{"inputs": problem(rng)["input"], "explain": i % 2 == 0} for i in range(CLIENTS)]


def measure(
    case: str, url: str, bundle: Path, asked: list[dict[str, Any]], requests: int
) -> dict[int, list[Load]]:
    """The load of each turn, by the number of replicas."""
    loads: dict[int, list[Load]] = {}
    name = read_manifest(bundle).name
    for replicas in TURNS:
        log(f"{case}: replicas: {replicas}")
        arguments = {"models": [str(bundle.resolve())]}
        options = {"num_cpus": 1}
        deployed = deploy(url, arguments, num_replicas=replicas, ray_actor_options=options)
        deployed.wait_until_running(replicas)
        give_each_a_part(deployed.replicas)
        load = in_a_process(run_load, f"{url}/predict", asked, CLIENTS, 2 * CLIENTS, requests)
        if {answer["model"] for answer in load.answers} != {name}:
            raise RuntimeError(f"another model than {name} answered")
        loads.setdefault(replicas, []).append(load)
    return loads


def give_each_a_part(replicas: list[int]) -> None:
    """Pins each replica to a core of its own, limited to SHARE of it, as a container's limit would.

    Otherwise a replica would use two cores, because it encodes beside its decoder steps. Raises
    OSError without root.
    """
    for core, replica in zip(sorted(os.sched_getaffinity(0)), replicas, strict=False):
        for thread in psutil.Process(replica).threads():
            os.sched_setaffinity(thread.id, {core})
        _limit(replica)


def _limit(process: int) -> None:
    groups, period = Path("/sys/fs/cgroup"), 20_000  # microseconds
    if (groups / "cpu").is_dir():  # version 1
        group = groups / "cpu" / f"duet-{process}"
        limits = {"cpu.cfs_period_us": f"{period}", "cpu.cfs_quota_us": f"{SHARE * period:.0f}"}
    else:
        group, limits = groups / f"duet-{process}", {"cpu.max": f"{SHARE * period:.0f} {period}"}
    group.mkdir(exist_ok=True)  # the replica that stays has it already
    for name, value in limits.items():
        (group / name).write_text(value)
    (group / "cgroup.procs").write_text(str(process))


def row(case: str, replicas: int, loads: list[Load]) -> tuple[str, ...]:
    latencies = [seconds for load in loads for seconds in load.latencies]
    centiles = statistics.quantiles(latencies, n=100)
    per_second = statistics.mean(load.per_second for load in loads)
    return (
        case,
        f"{replicas}",
        f"{len(latencies):,}",
        f"{per_second:.1f}",
        milliseconds(centiles[49]),
        milliseconds(centiles[98]),
    )


if __name__ == "__main__":
    main()
