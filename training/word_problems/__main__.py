"""Writes word problems as JSON lines: `python -m training.word_problems --rows N --out FILE`."""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from training.word_problems.off_topic import RATIONALE, off_topic
from training.word_problems.problems import problem


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="training.word_problems", description=__doc__)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0, help="the same rows every time (default: 0)")
    parser.add_argument(
        "--off-topic",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the rows, so many are no word problems and have random labels (default: 0)",
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the problems, so many have made-up words, and miss others (default: 0)",
    )
    parser.add_argument("--out", type=Path, required=True, help="a file that is replaced")
    arguments = parser.parse_args(argv)
    if arguments.rows < 1:
        parser.error(f"--rows: {arguments.rows}, but there must be one at least")
    for option, share in (("off-topic", arguments.off_topic), ("noise", arguments.noise)):
        if not 0 <= share <= 1:
            parser.error(f"--{option}: {share}, but a share is from 0 to 1")
    rng = random.Random(arguments.seed)
    part = arguments.out.with_name(f"{arguments.out.name}.part")
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            for _ in tqdm(range(arguments.rows), unit=" rows", disable=None):
                file.write(json.dumps(_row(rng, arguments.off_topic, arguments.noise)) + "\n")
        part.replace(arguments.out)
    except OSError as error:
        print(f"word_problems: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        part.unlink(missing_ok=True)
        print("word_problems: stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _row(rng: random.Random, off_topic_share: float, noise_share: float) -> dict[str, str]:
    if rng.random() < off_topic_share:
        text, label = off_topic(rng)
        return {"input": text, "label": label, "rationale": RATIONALE, "scene": "off topic"}
    made = problem(rng, noisy=noise_share > 0 and rng.random() < noise_share)
    row = {"input": made.text, "label": made.label, "rationale": made.rationale}
    return row | {"scene": made.scene.name}


if __name__ == "__main__":
    sys.exit(main())
