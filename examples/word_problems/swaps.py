"""Copies a recipe's word problems with other names, other things and other numbers.

`python -m examples.word_problems.swaps RECIPE --copies N --out FILE`

It writes N copies of each training row as JSON lines, for the recipe's `data.train_only`.
"""

import argparse
import json
import logging
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from examples.word_problems.renumbering import renumbered
from examples.word_problems.words import Noun, vocabulary
from tasks.durable_files import replacing
from training.config import load_config
from training.data.row import DataError
from training.data.splits import load_splits
from training.student.files import Example
from training.yaml_files import ConfigError

SWAPPED_NOUNS = 0.5  # share of copies with other nouns, too; the rest has other names only


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="examples.word_problems.swaps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path, help="a recipe with word problems")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes of the recipe")
    parser.add_argument("--copies", type=int, required=True, help="copies of each training row")
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write; an old one is replaced"
    )
    arguments = parser.parse_args(argv)
    if arguments.copies < 1:
        parser.error(f"--copies: {arguments.copies}, but it must be at least 1")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        config = load_config(arguments.recipe, [*arguments.overrides, "data.train_only=null"])
        train = load_splits(config).train
        copies = swapped_copies(
            train, arguments.copies, config.seed, renumber=config.task.numbers is not None
        )
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(arguments.out) as file:
            for copy in copies:
                row = {**copy.input, "label": copy.label, "rationale": copy.rationale}
                file.write(json.dumps(row).encode() + b"\n")
    except (ConfigError, DataError, OSError) as error:
        print(f"swaps: {error}", file=sys.stderr)
        return 2
    logging.info("%s: %d copies of %d rows", arguments.out, len(copies), len(train))
    return 0


def swapped_copies(
    examples: list[Example], copies: int, seed: int, *, renumber: bool = False
) -> list[Example]:
    """`copies` copies of each example, with other names or with other names and nouns.

    A woman's name is replaced by a woman's, a noun by one of its category. Verbs stay. With
    `renumber` a copy has other numbers, too, where that is possible. An example without anything to
    change is not copied.
    """
    rng = random.Random(seed)
    rows = []
    for example in examples:
        for _ in range(copies):
            copy = (renumbered(example, rng) if renumber else None) or example
            copy = _swapped(copy, rng) or copy
            if copy is not example:
                rows.append(copy)
    return rows


def _swapped(example: Example, rng: random.Random) -> Example | None:
    texts = [text for text in example.input.values() if isinstance(text, str)]
    others = _other_words(" ".join(texts), rng)
    if not others:
        return None
    pattern = _any_of(others)

    def swap(text: str) -> str:
        return pattern.sub(lambda found: others[found[0]], text)

    return replace(
        example,
        input={
            name: swap(text) if isinstance(text, str) else text
            for name, text in example.input.items()
        },
        rationale=None if example.rationale is None else swap(example.rationale),
    )


def _other_words(text: str, rng: random.Random) -> dict[str, str]:
    """Another word for each name and noun of a text. Nouns are given as singular and plural."""
    names, nouns, pattern = _known_words()
    found = set(pattern.findall(text))
    others: dict[str, str] = {}
    for name in sorted(found & names.keys()):
        people = vocabulary()[names[name]]
        while (other := rng.choice(people)) in found or other in others.values():
            pass
        others[name] = other
    if rng.random() < SWAPPED_NOUNS:
        taken = {nouns[word] for word in found & nouns.keys()}
        for noun in sorted(taken, key=lambda noun: noun.many):
            kind = vocabulary()["nouns"][noun.category]
            if len(taken) >= len(kind):
                continue
            while (different := rng.choice(kind)) in taken:
                pass
            taken.add(different)
            others |= {noun.many: different.many, noun.one: different.one}
    return others


@cache
def _known_words() -> tuple[dict[str, str], dict[str, Noun], re.Pattern[str]]:
    words = vocabulary()
    names = {name: people for people in ("women", "men") for name in words[people]}
    nouns = {
        form: noun
        for kind in words["nouns"].values()
        for noun in kind
        for form in (noun.many, noun.one)
    }
    return names, nouns, _any_of({**names, **nouns})


def _any_of(words: dict[str, object] | dict[str, str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")


if __name__ == "__main__":
    sys.exit(main())
