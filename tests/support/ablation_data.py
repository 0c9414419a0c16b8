"""Writes the data that `make ablate` trains on, beside the archive of Distilling Step-by-Step.

`python -m tests.support.ablation_data data/dss data/ablation`. Tickets, reviews and word problems
are made by programs. ANLI's rows are the archive's validation rows, split by premise, because its
training rows are large.
"""

import argparse
import random
import sys
from pathlib import Path

from examples.word_problems.problems import problem
from examples.word_problems.scenes import all_scenes
from tasks.builtin import TASKS
from tests.support.reviews import review
from tests.support.seeded_rows import Row, make_rows, write_rows
from tests.support.tickets import ticket
from training.data.load import load_rows
from training.data.row import DataError
from training.data.sources import DssSource
from training.data.splits import group_key, hold_out

TEST_ROWS = 100


def word_problem(rng: random.Random) -> Row:
    """A word problem of one of the two kinds of scenes that the ablation's student can learn."""
    scenes = [scene for scene in all_scenes() if scene.kind in ("change", "combine")]
    made = problem(rng, scenes=scenes)
    return {"input": made.text, "label": made.label, "rationale": made.rationale}


# what makes the rows, and how many training rows it makes
MADE = {"tickets": (ticket, 480), "reviews": (review, 600), "numbers": (word_problem, 4000)}


def write_anli(archive: Path, train: Path, test: Path) -> None:
    task = TASKS["anli1"]
    source = DssSource(format="dss", path=archive, train="valid", test=None)
    rows, _ = load_rows(source, task)
    kept, held_out = hold_out(rows, TEST_ROWS, 0, group_key(task, "{{premise}}"))
    for path, some in ((train, kept), (test, held_out)):
        records = ({**row.input, "label": row.label, "rationale": row.rationales} for row in some)
        write_rows(path, records)


def main(archive: Path, out: Path) -> int:
    out.mkdir(parents=True, exist_ok=True)
    for name, (make, rows) in MADE.items():
        made = make_rows(make, rows + TEST_ROWS, seed=0)
        write_rows(out / f"{name}-train.jsonl", made[:rows])
        write_rows(out / f"{name}-test.jsonl", made[rows:])
    try:
        write_anli(archive, out / "anli1-train.jsonl", out / "anli1-test.jsonl")
    except DataError as error:
        print(f"ablation_data: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="ablation_data", description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path)
    sys.exit(main(**vars(parser.parse_args())))
