"""Measures Duet's trainer beside the usual loops: `python -m tests.benchmarks.training`."""

import argparse
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.geometry import SMALL, UNUSED
from tests.benchmarks.progress import log
from tests.benchmarks.report import Report
from tests.benchmarks.workers import Workers, in_a_process
from tests.support.simple_problems import write_problems
from training.reports.markdown import table

RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "svamp-mini.yaml"
# The peer of Duet, by objective. "two forwards" computes each pass in a forward of its own.
PEERS = {"mi-unsafe": "two forwards", "dss": "two forwards", "finetune": "Seq2SeqTrainer"}
SAME_LOSS = 2e-4  # relative, at every step: losses are logged with four digits
# glibc gives large temporaries back to the kernel at every step, unless it is told to keep them.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
}


@dataclass(frozen=True)
class Case:
    name: str
    shape: dict[str, Any] | None  # None: the recipe's
    vocabulary: int | None  # None: the tokenizer's
    batch_size: int
    steps: int  # of a turn


CASES = (
    Case("svamp-mini", None, None, batch_size=32, steps=20),
    Case("T5-small", SMALL.shape, SMALL.words + UNUSED, batch_size=16, steps=3),
)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.training", description=__doc__
    )
    names = [case.name for case in CASES]
    parser.add_argument("--only", choices=names, nargs="+", default=names, help="only these sizes")
    parser.add_argument("--objectives", choices=PEERS, nargs="+", default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument("--steps", type=int, help="steps of a turn (20, and 3 of T5-small)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--data", type=Path, default=Path("data/dss"), help="where SVAMP is (data/dss)"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("TRAINING.md"))
    arguments = parser.parse_args(argv)
    os.environ |= KEEP_MEMORY | {
        "OMP_NUM_THREADS": str(arguments.threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    report = Report(
        f"{machine.processor()}. {machine.versions()}. {arguments.threads} threads each.",
        "make bench-training",
    )
    config, splits, data = in_a_process(_load, arguments.data)
    for case in CASES:
        if case.name in arguments.only:
            _add(report, case, config, splits, data, arguments)
    arguments.out.write_text(report.markdown(), encoding="utf-8")
    log(f"wrote {arguments.out}")


def _load(folder: Path) -> Any:
    from training.config import load_config
    from training.data.splits import load_splits

    if folder.is_dir():
        config = load_config(RECIPE, [f"data.path={folder}"])
        return config, load_splits(config), "SVAMP"
    with TemporaryDirectory() as made:
        rows = Path(made) / "train.jsonl"
        write_problems(rows, rows=800, seed=0)
        config = load_config(RECIPE, [f"data={{format: jsonl, train: {rows}}}"])
        return config, load_splits(config), "word problems made from a seed"


def _add(
    report: Report, case: Case, config: Any, splits: Any, data: str, arguments: argparse.Namespace
) -> None:
    from tests.benchmarks.trainers import Trained

    shape = case.shape or config.model.scratch.model_dump(exclude={"vocab_size", "dropout_rate"})
    rows = []
    for objective in arguments.objectives:
        log(f"{case.name}, {objective}")
        sides = (PEERS[objective], "Duet")
        makers = {
            side: (
                Trained,
                *(side, objective, config, splits, shape, case.vocabulary, case.batch_size),
            )
            for side in sides
        }
        turns: dict[str, list[Any]] = {side: [] for side in sides}
        with Workers(makers) as workers:
            for _ in range(arguments.rounds):
                for side in sides:
                    turn = workers.call(side, "turn", arguments.steps or case.steps)
                    turns[side].append(turn)
        _check_losses(f"{case.name}, {objective}", turns)
        speed = {
            side: case.batch_size / statistics.median(turn.seconds for turn in turns[side])
            for side in sides
        }
        peak = {side: max(turn.peak for turn in turns[side]) for side in sides}
        peer, ours = sides
        faster, memory = speed[ours] / speed[peer], peak[ours] / peak[peer]
        for side in sides:
            rows.append((objective, side, f"{speed[side]:.1f}", f"{peak[side] / 2**20:,.0f}"))
        rows.append(("", "Duet / " + peer, f"{faster:.2f}×", f"{memory:.2f}×"))
        if peer == "two forwards":
            place = f"{case.name}, {objective}: Duet's"
            report.aim(f"{place} examples/s / two forwards'", faster, least=1.5)
            report.aim(f"{place} peak memory / two forwards'", memory, most=1)
    report.add(
        f"Training, {case.name}",
        [
            f"{data}, batches of {case.batch_size} rows in random order, the same for all, without "
            "dropout; the losses are equal at every step. Memory is what a process had at most "
            "beyond what it had before it trained.",
            table(("objective", "trainer", "examples/s", "peak memory, MiB"), rows),
        ],
    )


def _check_losses(place: str, turns: dict[str, list[Any]]) -> None:
    """Raises RuntimeError where two sides, or two turns of one, have different losses."""
    (first, *_), *_ = turns.values()
    for side, of_side in turns.items():
        for turn in of_side:
            for step, (loss, expected) in enumerate(zip(turn.losses, first.losses, strict=True)):
                if abs(loss - expected) > SAME_LOSS * abs(expected):
                    raise RuntimeError(f"{place}: {side} has {loss} at step {step}, not {expected}")


if __name__ == "__main__":
    main()
