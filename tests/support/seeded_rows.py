"""Rows that a program makes from a seed, and files of such rows for distillation."""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path

Row = dict[str, str]  # input, label, rationale


def make_rows(make: Callable[[random.Random], Row], rows: int, seed: int) -> list[Row]:
    """`rows` rows with different inputs."""
    rng, made = random.Random(seed), dict[str, Row]()
    while len(made) < rows:
        row = make(rng)
        made[row["input"]] = row
    return list(made.values())


def write_rows(path: Path, rows: Iterable[object]) -> None:
    """Writes rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
