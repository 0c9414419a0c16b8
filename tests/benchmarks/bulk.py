"""The bulk command beside the engine alone, on the same rows: `python -m tests.benchmarks.bulk`."""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from service.engine.engine import Engine
from service.engine.memory import map_large_arrays
from service.engine.prediction import PredictRequest
from service.settings import EMBEDDED_STUDENT, available_cores
from tests.benchmarks import machine
from tests.benchmarks.progress import log
from tests.benchmarks.report import Report
from tests.benchmarks.workers import in_a_process
from tests.support.server_process import ROOT, environment
from tests.support.simple_problems import problem
from training.reports.markdown import rewrite_block, table

MAX_ROWS = 32
CONCURRENCY = 64  # requests at the engine
CASES = {"labels": False, "labels and rationales": True}  # whether it explains
LEAST = 90  # % of the engine's rows/s, the aim


@dataclass(frozen=True)
class Bulk:
    """A whole run of the command."""

    seconds: float
    cpu_seconds: float
    memory: int  # bytes at most


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the benchmark. Exits with 1 where an aim is missed."""
    arguments = _parse(argv)
    report = Report(
        f"{machine.processor()}. {machine.versions()}. {arguments.threads} threads.",
        "make bench-bulk",
    )
    with TemporaryDirectory() as folder:
        _measure(report, Path(folder), arguments)
    arguments.out.write_text(report.markdown(), encoding="utf-8")
    if arguments.readme:
        rewrite_block(arguments.readme, "bulk", report.summary())
    print(report.summary())
    sys.exit(not all(target.held for target in report.targets))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bulk", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--explained", type=int, default=5000, help="rows to explain (5,000)")
    parser.add_argument("--kills", type=int, default=3, help="kills of the resumed run (3)")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("BULK.md"))
    parser.add_argument("--readme", type=Path, help="Markdown whose block is rewritten too")
    return parser.parse_args(argv)


def _measure(report: Report, folder: Path, arguments: argparse.Namespace) -> None:
    threads = arguments.threads
    cells = []
    for case, explain in CASES.items():
        count = arguments.explained if explain else arguments.rows
        rows = folder / f"{count}.jsonl"
        write_rows(rows, count)
        # half before and half after the command, in case the machine gets slower or faster
        halves = (0, count // 2), (count // 2, count)
        seconds = []
        for half in halves:
            log(f"{case}: the engine, rows {half[0]:,} to {half[1]:,}")
            seconds.append(in_a_process(drive_engine, rows, half, explain, threads))
            if len(seconds) == 1:
                log(f"{case}: the command, {count:,} rows")
                bulk = run_command(rows, folder / case, explain, threads)
        engine, ours = count / sum(seconds), count / bulk.seconds
        cells.append(
            (
                case,
                f"{count:,}",
                f"{engine:,.0f}",
                f"{ours:,.0f}",
                f"{ours / engine:.0%}",
                f"{core_hours(bulk, count):.2f}",
                f"{bulk.memory / 2**20:,.0f}",
            )
        )
        report.aim(f"{case}: bulk / engine", 100 * ours / engine, least=LEAST, unit=" %")
    case = next(iter(CASES))
    log(f"{case}: the command, killed {arguments.kills} times")
    rows = folder / f"{arguments.rows}.jsonl"
    kill_and_resume(rows, folder / "killed", CASES[case], threads, arguments.kills)
    different = differing(folder / case, folder / "killed")
    report.aim(
        f"{case}: files that differ after {arguments.kills} kill -9 and resumptions",
        len(different),
        most=0,
        unit="",
    )
    report.add(
        "Bulk, the embedded student on word problems",
        [
            f"The command, from its start to its end, beside the engine alone, asked in its own "
            f"process by {CONCURRENCY} callers at once; both with {MAX_ROWS} rows.",
            table(
                (
                    "",
                    *("rows", "engine, rows/s", "bulk, rows/s", "bulk / engine"),
                    *("core-hours a million rows", "memory at most, MB"),
                ),
                cells,
            ),
        ],
    )


def write_rows(path: Path, count: int) -> None:
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            file.write(json.dumps({"text": problem(rng)["input"]}) + "\n")


def drive_engine(rows: Path, half: tuple[int, int], explain: bool, threads: int) -> float:
    """Seconds that the engine takes for some of the rows, with CONCURRENCY callers."""
    map_large_arrays()
    texts = [json.loads(line)["text"] for line in rows.read_text().splitlines()[slice(*half)]]
    engine = Engine.load(EMBEDDED_STUDENT, device="cpu", threads=threads, max_rows=MAX_ROWS)

    async def drive() -> float:
        waiting = iter(texts)

        async def caller() -> None:
            for text in waiting:
                await engine.predict(PredictRequest(text, explain))

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
        return time.perf_counter() - started

    seconds = asyncio.run(drive())
    engine.close()
    return seconds


def command(rows: Path, out: Path, explain: bool, threads: int) -> list[str]:
    options = ["--device", "cpu", "--threads", str(threads), "--max-rows", str(MAX_ROWS)]
    options += ["--explain"] * explain
    paths = ["--input", str(rows), "--output", str(out)]
    return [sys.executable, "-m", "service.bulk", *paths, *options]


def run_command(rows: Path, out: Path, explain: bool, threads: int) -> Bulk:
    started = time.perf_counter()
    process = subprocess.Popen(
        command(rows, out, explain, threads), cwd=ROOT, env=environment(), stdout=sys.stderr
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the command ended with {process.returncode}")
    seconds = time.perf_counter() - started
    return Bulk(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def kill_and_resume(rows: Path, out: Path, explain: bool, threads: int, kills: int) -> None:
    """Kills the command each time that it has written a part of the shards; then lets it finish."""
    shards = -(-sum(1 for _ in rows.open()) // 1000)
    for kill in range(1, kills + 1):
        process = subprocess.Popen(
            command(rows, out, explain, threads), cwd=ROOT, env=environment(), stdout=sys.stderr
        )
        while len(list(out.glob("part-*.jsonl"))) < shards * kill // (kills + 1):
            if process.poll() is not None:
                raise RuntimeError("the command ended before it was killed")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    run_command(rows, out, explain, threads)


def differing(one: Path, other: Path) -> list[str]:
    names = {path.name for folder in (one, other) for path in folder.iterdir()}
    return sorted(
        name
        for name in names
        if not (one / name).is_file()
        or not (other / name).is_file()
        or (one / name).read_bytes() != (other / name).read_bytes()
    )


def core_hours(bulk: Bulk, rows: int) -> float:
    """Core-hours for a million rows."""
    return bulk.cpu_seconds / rows * 1e6 / 3600


if __name__ == "__main__":
    main()
