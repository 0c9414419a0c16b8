"""Writes word problems as JSON lines: `python -m training.word_problems --rows N --out FILE`."""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from training.word_problems.problems import problem


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="training.word_problems", description=__doc__)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0, help="the same rows every time (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="a file that is replaced")
    arguments = parser.parse_args(argv)
    if arguments.rows < 1:
        parser.error(f"--rows: {arguments.rows}, but there must be one at least")
    rng = random.Random(arguments.seed)
    part = arguments.out.with_name(f"{arguments.out.name}.part")
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            for _ in tqdm(range(arguments.rows), unit=" rows", disable=None):
                made = problem(rng)
                row = {"input": made.text, "label": made.label, "rationale": made.rationale}
                file.write(json.dumps(row | {"scene": made.scene.name}) + "\n")
        part.replace(arguments.out)
    except OSError as error:
        print(f"word_problems: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        part.unlink(missing_ok=True)
        print("word_problems: stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
