"""Duet beside its peers: `python -m tests.benchmarks --help` tells what can be left out."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import generation, machine
from tests.benchmarks.geometry import BASE, SMALL, TINY, Geometry
from tests.benchmarks.report import Report, comparison_table, rewrite_block, ways_table

ROOT = Path(__file__).parents[2]
CASES = ("generation",)
PEERS = ("optimum", "ctranslate2", "litserve")
ROUNDS = {"T5-tiny": 1, "T5-small": 5, "T5-base": 3}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=CASES, nargs="+", default=CASES, help="these cases")
    parser.add_argument(
        "--peers", choices=PEERS, nargs="*", default=PEERS, help="beside transformers (all)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tiny geometry, once: to try the program itself"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    parser.add_argument("--readme", type=Path, help="rewrite the block in it too")
    arguments = parser.parse_args(argv)
    # for the peers' processes, which inherit it
    os.environ |= {"OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    report = Report(f"{machine.processor()}. {machine.versions()}. 2 threads each.")
    geometries = [TINY] if arguments.quick else [SMALL, BASE]
    if "generation" in arguments.only:
        for geometry in geometries:
            measure_generation(report, geometry, arguments.peers)
    arguments.out.write_text(report.markdown(), encoding="utf-8")
    if arguments.readme:
        rewrite_block(arguments.readme, report.summary())
    log(f"wrote {arguments.out}")


def measure_generation(report: Report, geometry: Geometry, peers: Sequence[str]) -> None:
    with TemporaryDirectory() as folder:
        log(f"{geometry.name}: exporting")
        generation.export(geometry, Path(folder), peers)
        comparisons = generation.measure(geometry, Path(folder), peers, ROUNDS[geometry.name], log)
    report.add(
        f"{geometry.name}, random weights, without speculation",
        comparison_table(comparisons),
        ways_table(comparisons),
    )
    if geometry is BASE:
        return
    found = {comparison.case: comparison for comparison in comparisons}
    for wants, batch, least in ("label", 1, 2.5), ("rationale", 1, 2.2), ("rationale", 8, 2.5):
        case = f"{geometry.name}, {wants}, batch {batch}"
        report.aim(f"{case}: fastest peer / Duet", found[case].ratio, least=least)
    both = {wants: found[f"{geometry.name}, {wants}, batch 1"] for wants in ("rationale", "both")}
    seconds = {wants: one.seconds[one.best_of_ours] for wants, one in both.items()}
    report.aim(
        f"{geometry.name}, batch 1: label and rationale / rationale alone",
        seconds["both"] / seconds["rationale"],
        most=1.15,
    )


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
