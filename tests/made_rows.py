"""Rows that a program makes from a seed, as files to distil from."""

import json
import random
from collections.abc import Callable
from pathlib import Path

Row = dict[str, str]  # input, label, rationale


def write_rows(path: Path, make: Callable[[random.Random], Row], rows: int, seed: int) -> list[Row]:
    """Writes `rows` rows with different inputs as JSON lines, and returns them."""
    rng, made = random.Random(seed), dict[str, Row]()
    while len(made) < rows:
        row = make(rng)
        made[row["input"]] = row
    text = "".join(json.dumps(row) + "\n" for row in made.values())
    path.write_text(text, encoding="utf-8")
    return list(made.values())
