"""Writes generated word problems to a file of JSON lines.

`python -m examples.word_problems --rows N --out FILE`
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from examples.word_problems.off_topic import RATIONALE, off_topic
from examples.word_problems.problems import problem
from examples.word_problems.scenes import Scene, all_scenes
from tasks.durable_files import replacing


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="examples.word_problems", description=__doc__)
    parser.add_argument("--rows", type=int, required=True, help="rows to write")
    parser.add_argument(
        "--seed", type=int, default=0, help="the same seed gives the same rows (default: 0)"
    )
    parser.add_argument(
        "--off-topic",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of rows that are no word problems and have random labels (default: 0)",
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of problems with made-up and missing words (default: 0)",
    )
    parser.add_argument(
        "--explained",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of rows with a rationale; the others train the predict pass only (default: 1)",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=sorted({scene.kind for scene in all_scenes()}),
        help="kinds of scenes to use (default: all)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write; an old one is replaced"
    )
    arguments = parser.parse_args(argv)
    if arguments.rows < 1:
        parser.error(f"--rows: {arguments.rows}, but it must be at least 1")
    for option in ("off_topic", "noise", "explained"):
        share = getattr(arguments, option)
        if not 0 <= share <= 1:
            parser.error(f"--{option.replace('_', '-')}: {share}, but a share is from 0 to 1")
    kinds = arguments.kinds
    scenes = [scene for scene in all_scenes() if kinds is None or scene.kind in kinds]
    rng = random.Random(arguments.seed)
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(arguments.out) as file:
            for _ in tqdm(range(arguments.rows), unit=" rows", disable=None):
                row = _row(rng, scenes, arguments.off_topic, arguments.noise)
                # without a draw where all are explained, so that rows of a seed stay as they were
                if arguments.explained < 1 and rng.random() >= arguments.explained:
                    row["rationale"] = None
                file.write(f"{json.dumps(row)}\n".encode())
    except OSError as error:
        print(f"word_problems: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("word_problems: stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _row(
    rng: random.Random, scenes: Sequence[Scene], off_topic_share: float, noise_share: float
) -> dict[str, str | None]:
    if rng.random() < off_topic_share:
        text, label = off_topic(rng)
        return {"input": text, "label": label, "rationale": RATIONALE, "scene": "off topic"}
    noisy = noise_share > 0 and rng.random() < noise_share
    made = problem(rng, noisy=noisy, scenes=scenes)
    return {
        "input": made.text,
        "label": made.label,
        "rationale": made.rationale,
        "scene": made.scene.name,
    }


if __name__ == "__main__":
    sys.exit(main())
