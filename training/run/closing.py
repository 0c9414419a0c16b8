"""What a command says at its end: where the student is, how good it is, and what comes next."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from training.student.files import StudentRecord


def closing_lines(
    recipe: Path, overrides: Sequence[str], folder: Path, record: StudentRecord, prog: str | None
) -> list[str]:
    """The three lines of a distillation of `recipe` with `key=value` overrides into `folder`.

    `prog` is the command that distilled, None for the program itself. The last line has the
    command that calibrates and evaluates the student, for those who run make, `duet`, or Python.
    """
    return [
        f"student: {folder}",
        f"quality: {_quality(record)}",
        f"next: {_evaluate(recipe, overrides, folder, prog)}",
    ]


def line_after_evaluation(folder: Path, prog: str | None) -> str:
    """The line with the command that exports the student in `folder`."""
    bundle = f"bundles/{folder.resolve().name}"
    if _runs_make(prog):
        return "next: " + shlex.join(["make", "export", f"CHECKPOINT={folder}", f"BUNDLE={bundle}"])
    started = [prog.partition(" ")[0], "export"] if prog else ["python", "-m", "export.convert"]
    return "next: " + shlex.join([*started, str(folder), "--out", bundle])


def _quality(record: StudentRecord) -> str:
    facts = []
    for split in ("test", "validation"):
        if (found := record.metrics.get(split)) is None:
            continue
        facts.append(f"{_percent(found['accuracy'])} % of {found['rows']} {split} rows right")
        if "low" in found:  # older students do not have it
            facts[-1] += f" (95 % interval {_percent(found['low'])} to {_percent(found['high'])})"
    rationales = record.metrics.get("rationales", {})
    if "healthy" in rationales:
        share = _percent(rationales["healthy"])
        facts.append(f"{share} % of {rationales['rows']} rationales healthy")
    return "; ".join(facts)


def _percent(share: float | int | str) -> str:
    return f"{100 * float(share):.1f}"


def _evaluate(recipe: Path, overrides: Sequence[str], folder: Path, prog: str | None) -> str:
    # the folder is named anyway; any other key may change the rows, as `seed` does
    others = [override for override in overrides if not override.startswith("output_dir=")]
    if _runs_make(prog):
        command = ["make", "evaluate", f"RECIPE={recipe}"]
        if len(others) < len(overrides):
            command.append(f"CHECKPOINT={folder}")
        if others:
            command.append(f"ARGS={shlex.join(['--recipe', str(recipe), *others])}")
        return shlex.join(command)
    started = [prog.partition(" ")[0], "evaluate"] if prog else ["python", "training/evaluate.py"]
    read = ["--recipe", str(recipe), *others, "--calibrate"]
    return shlex.join([*started, str(folder), *read, "--out", str(folder / "evaluation")])


def _runs_make(prog: str | None) -> bool:
    return prog is None and bool(os.environ.get("MAKELEVEL"))
