"""Distils the students of an ablation, and compares them: `python training/ablate.py PLAN.yaml`.

The same command continues a stopped ablation. Started again in another terminal meanwhile, it
distils the students that no other process works on.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from tasks.durable_files import open_locked, replace_text
from training.config import DistillConfig
from training.data.row import DataError
from training.data.splits import group_key, load_splits
from training.evaluation.ablation import Ablation, Cell, load_ablation, shuffle_rationales
from training.evaluation.checkpoint import Checkpoint
from training.evaluation.labelled import labelled_examples
from training.evaluation.record import Record
from training.reports.ablation import Found, as_data, as_markdown, results
from training.reports.markdown import NoBlockError, rewrite_block
from training.run.distillation import distill
from training.run.interruption import Interrupted
from training.student.files import Example, StudentError, read_record
from training.yaml_files import ConfigError


def main(argv: list[str] | None = None, prog: str = "ablate.py") -> int:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/ablation"), help="folder for students and the report"
    )
    parser.add_argument(
        "--report", action="store_true", help="distil nothing, only write the report"
    )
    parser.add_argument("--readme", type=Path, help="Markdown whose block `ablation` is rewritten")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)  # so that a student is the same on any number of cores
    try:
        workbench = Workbench(load_ablation(arguments.plan), arguments.out)
        if not arguments.report:
            workbench.distil_missing()
        report = workbench.write_report()
        if arguments.readme:
            rewrite_block(arguments.readme, "ablation", report)
    except (ConfigError, DataError, NoBlockError, StudentError, OSError) as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        log("stopped; the same command goes on")
        return stop.exit_code if isinstance(stop, Interrupted) else 130
    return 0


@dataclass(frozen=True)
class Workbench:
    """A plan, and the folder in which each of its cells has a folder."""

    ablation: Ablation
    out: Path

    def missing(self) -> list[Cell]:
        """The cells without a result. Raises ConfigError where a result is of another plan."""
        return [cell for cell in self.ablation.cells() if self.found(cell) is None]

    def found(self, cell: Cell) -> Found | None:
        """What a finished cell's student said of the test rows. Raises as `missing` does."""
        path = self._result(cell)
        if not path.is_file():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["cell"] != self.ablation.identity(cell):
            raise ConfigError(
                f"--out: {path} is of another plan or recipe; choose another folder, "
                "or delete that one's"
            )
        task = self.ablation.config(cell, path.parent).task
        return Found(task, [Record(**one) for one in record["records"]], record["mi_bound"])

    def distil_missing(self) -> None:
        """Distils the missing students, except those that another process works on."""
        cells, missing = self.ablation.cells(), self.missing()
        for cell in missing:  # check all first, so that a wrong arm is not found after hours
            self.ablation.config(cell, self.out / str(cell))
        start, waiting = time.monotonic(), len(missing)
        for cell in missing:
            with _claimed(self.out / str(cell)) as mine:
                if not mine or self.found(cell) is not None:
                    continue
                log(f"{cell}: its log is {self.out / str(cell) / 'train.log'}")
                records = self._distil(cell)
            self.write_report()
            right, left = sum(record.right for record in records), len(self.missing())
            seconds = (time.monotonic() - start) / (waiting - left) * left
            log(
                f"{cell}: {right} of {len(records)} test rows right; "
                f"{len(cells) - left} of {len(cells)} done, about {seconds / 60:.0f} minutes left"
            )

    def _distil(self, cell: Cell) -> list[Record]:
        folder, shuffle = self.out / str(cell), self.ablation.arms[cell.arm].shuffle
        config = self.ablation.config(cell, folder)
        splits = load_splits(config)
        if not splits.test:
            raise ConfigError(f"{cell.dataset}: data names no test rows to compare by")
        train = shuffle_rationales(splits.train, shuffle, cell.seed)
        with (
            (folder / "train.log").open("a", buffering=1, encoding="utf-8") as file,
            redirect_stdout(file),
            redirect_stderr(file),
        ):
            distill(config, replace(splits, train=train), command=shlex.join(["python", *sys.argv]))
        records = answer_test_rows(config, splits.test)
        result = {
            "cell": self.ablation.identity(cell),
            "data": splits.reports,
            "mi_bound": read_record(folder).metrics["test"].get("mi_bound"),
            "records": [*map(asdict, records)],
        }
        replace_text(self._result(cell), json.dumps(result, indent=1) + "\n")
        return records

    def write_report(self) -> str:
        """Writes `report.md` and `report.json` on the finished cells, and returns the Markdown."""
        cells = self.ablation.cells()
        found = {cell: one for cell in cells if (one := self.found(cell)) is not None}
        missing = [cell for cell in cells if cell not in found]
        compared = results(self.ablation, found)
        markdown = as_markdown(compared, len(cells), missing)
        self.out.mkdir(parents=True, exist_ok=True)
        data = json.dumps(as_data(compared, missing), indent=1)
        replace_text(self.out / "report.json", f"{data}\n")
        replace_text(self.out / "report.md", f"# Ablation\n\n{markdown}\n")
        return markdown

    def _result(self, cell: Cell) -> Path:
        return self.out / str(cell) / "result.json"


def answer_test_rows(config: DistillConfig, examples: list[Example]) -> list[Record]:
    """What the student in `output_dir` says of each row, as it would be served in fp32.

    Rows that the recipe's `group_by` keeps together are one cluster.
    """
    key = group_key(config.task, config.data.group_by)
    rows = labelled_examples(examples, config.task, "test", key)
    return [*Checkpoint.load(config.output_dir).answers(rows)]


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Whether this process got the folder's lock. The system frees the lock if it dies."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = open_locked(folder / "lock")
    except BlockingIOError:
        yield False
        return
    with lock:
        yield True


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
