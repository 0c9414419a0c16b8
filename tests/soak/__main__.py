"""Runs a service under load for minutes: `python -m tests.soak soak`, or `overload`."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from service.settings import EMBEDDED_STUDENT
from tests.benchmarks.exports import export_random
from tests.benchmarks.geometry import SMALL
from tests.soak import overload, soak
from tests.soak.report import report_overload, report_soak
from tests.support.tiny_students import problems
from training.reports.markdown import rewrite_block

SECONDS = {"soak": 600.0, "overload": 20.0}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the load. Exits with 1 where an aim is missed."""
    arguments = _parse(argv)
    seconds = arguments.seconds or SECONDS[arguments.run]
    with TemporaryDirectory() as folder:
        if arguments.run == "soak":
            soaked = soak.run(Path(folder), soak.Plan(seconds))
            faults, (report, facts) = soaked.tally.faults, report_soak(soaked)
        else:
            plan = _overload_plan(seconds, arguments.student, Path(folder))
            overloaded = overload.run(Path(folder), plan)
            faults, (report, facts) = overloaded.faults, report_overload(overloaded, plan)
    facts |= {"machine": report.head, "aims": [*map(asdict, report.targets)], "faults": faults}
    arguments.out.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if arguments.readme:
        rewrite_block(arguments.readme, arguments.run, report.summary_with_aims())
    print(report.summary_with_aims(), *faults, sep="\n")
    sys.exit(not all(target.held for target in report.targets))


def _overload_plan(seconds: float, student: str, folder: Path) -> overload.Plan:
    if student == "embedded":
        return overload.Plan(seconds, "The embedded student", EMBEDDED_STUDENT, problems(40))
    made = folder / "made"
    export_random(SMALL, made, peers=())
    return overload.Plan(
        seconds,
        "A T5-small with random weights",
        made / "int8-short",
        SMALL.texts(20),
        max_queue=48,
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("run", choices=SECONDS)
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"seconds of load ({', '.join(f'{r}: {s:g}' for r, s in SECONDS.items())})",
    )
    parser.add_argument(
        "--student",
        choices=("T5-small", "embedded"),
        default="T5-small",
        help="the overloaded student: one of the usual size, or the embedded one",
    )
    parser.add_argument("--out", type=Path, help="JSON file to write (beside this program)")
    parser.add_argument("--readme", type=Path, help="Markdown whose block is rewritten too")
    arguments = parser.parse_args(argv)
    arguments.out = arguments.out or Path(__file__).with_name(f"{arguments.run}.json")
    return arguments


if __name__ == "__main__":
    main()
