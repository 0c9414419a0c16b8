"""What a distillation says at its end: where the student is, how good it is, what comes next."""

import os
import shlex
from pathlib import Path

from training.student.files import StudentRecord


def closing_lines(folder: Path, record: StudentRecord, prog: str | None) -> list[str]:
    """The three lines. `prog` is the command that distilled, None for the program itself.

    The last line has the command that exports the student, for those who run make, `duet`, or
    Python.
    """
    return [
        f"student: {folder}",
        f"quality: {_quality(record)}",
        f"next: {_next(folder, record, prog)}",
    ]


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


def _next(folder: Path, record: StudentRecord, prog: str | None) -> str:
    bundle = f"bundles/{record.name}"
    if prog is not None:
        return shlex.join([prog.partition(" ")[0], "export", str(folder), "--out", bundle])
    if os.environ.get("MAKELEVEL"):
        return shlex.join(["make", "export", f"CHECKPOINT={folder}", f"BUNDLE={bundle}"])
    return shlex.join(["python", "-m", "export.convert", str(folder), "--out", bundle])
