"""Measures Duet beside its peers. `python -m tests.benchmarks --help` lists the options."""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import generation, machine, sections, svamp
from tests.benchmarks.effort import FULL, QUICK
from tests.benchmarks.geometry import BASE, SMALL, TINY, Geometry
from tests.benchmarks.progress import log
from tests.benchmarks.report import Report
from tests.support.server_process import ROOT
from training.reports.markdown import rewrite_block

CASES = ("generation", "svamp", "serving", "costs")
PEERS = {"optimum": "optimum", "ctranslate2": "ctranslate2", "litserve": "litserve"}  # modules
BUNDLE = ROOT / "tests" / "fixtures" / "svamp-mini"  # made of the checkpoint that the peers load
BASE_ROUNDS = 2


def main(argv: Sequence[str] | None = None) -> None:
    arguments = _parse(argv)
    # the peers' processes inherit it
    os.environ |= {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    report = Report(f"{machine.processor()}. {machine.versions()}. 2 threads each.")
    effort = QUICK if arguments.quick else FULL
    bench = sections.Bench(report, arguments.peers, effort, log)
    with _exported(TINY if arguments.quick else SMALL, arguments.peers) as (geometry, folder):
        if "generation" in arguments.only:
            sections.add_generation(bench, geometry, folder, aimed=True)
        if "svamp" in arguments.only:
            _add_questions(bench, arguments, folder / "svamp")
        if "serving" in arguments.only:
            sections.add_serving(bench, geometry, folder)
        if "costs" in arguments.only:
            sections.add_costs(bench, geometry, folder)
    if "generation" in arguments.only and not arguments.quick:
        with _exported(BASE, arguments.peers) as (geometry, folder):
            fewer = replace(bench, effort=replace(effort, rounds=BASE_ROUNDS))
            sections.add_generation(fewer, geometry, folder, aimed=False)
    arguments.out.write_text(report.markdown(), encoding="utf-8")
    if arguments.readme:
        rewrite_block(arguments.readme, "bench", report.summary())
    log(f"wrote {arguments.out}")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=CASES, nargs="+", default=CASES, help="only these cases")
    parser.add_argument(
        "--peers", choices=PEERS, nargs="*", default=PEERS, help="peers beside transformers (all)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="try the program once, with a tiny geometry"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path("runs/svamp-mini"),
        help="the checkpoint of svamp-mini, which the peers load (runs/svamp-mini)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/dss"),
        help="the unpacked archive of Distilling Step-by-Step (data/dss)",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    parser.add_argument("--readme", type=Path, help="Markdown whose block is rewritten too")
    arguments = parser.parse_args(argv)
    missing = [peer for peer in arguments.peers if not find_spec(PEERS[peer])]
    if missing:
        parser.error(f"{', '.join(missing)}: not installed; install Duet's extra bench, or --peers")
    return arguments


def _add_questions(bench: sections.Bench, arguments: argparse.Namespace, folder: Path) -> None:
    try:
        questions = svamp.read_questions(arguments.data)
    except OSError as error:
        log(f"no SVAMP: {error}")
        return
    if not arguments.checkpoint.is_dir():
        log(f"no SVAMP: no checkpoint of svamp-mini in {arguments.checkpoint}")
        return
    folder.mkdir()
    questions = questions[: bench.effort.questions]
    sections.add_questions(bench, arguments.checkpoint, BUNDLE, questions, folder)


@contextmanager
def _exported(geometry: Geometry, peers: Sequence[str]) -> Iterator[tuple[Geometry, Path]]:
    with TemporaryDirectory() as folder:
        log(f"{geometry.name}: exporting")
        generation.export(geometry, Path(folder), peers)
        yield geometry, Path(folder)


if __name__ == "__main__":
    main()
