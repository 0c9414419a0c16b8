"""Small word problems with a programmatic teacher: data to distil from, made from a seed."""

import random
import re
from functools import cache
from pathlib import Path

from tests.support.seeded_rows import make_rows, write_rows

RECIPE = Path(__file__).with_name("recipes") / "word-problems.yaml"

NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jon")
THINGS = ("apples", "books", "coins", "drums", "eggs", "flags", "grapes", "hats")
NUMBERS = range(2, 25)

# (text, operator, rationale), over {name}, {things}, numbers {a} and {b}, and the result {c}
KINDS = (
    (
        "{name} has {a} {things}. {name} gets {b} more {things}. "
        "How many {things} does {name} have?",
        "+",
        "{name} had {a} {things} and got {b} more. {a} + {b} = {c}.",
    ),
    (
        "{name} has {a} {things}. {name} loses {b} {things}. How many {things} are left?",
        "-",
        "{name} had {a} {things} and lost {b}. {a} - {b} = {c}.",
    ),
    (
        "{name} has {a} boxes with {b} {things} each. How many {things} are in the boxes?",
        "*",
        "There are {a} boxes of {b} {things}. {a} * {b} = {c}.",
    ),
)


def problem(rng: random.Random) -> dict[str, str]:
    """One row `{"input", "label", "rationale"}`, its rationale true and its label exact."""
    kind = rng.choice(KINDS)
    a, b = sorted(rng.sample(NUMBERS, 2), reverse=True)
    return _row(kind, a, b, name=rng.choice(NAMES), things=rng.choice(THINGS))


def solve(text: str) -> dict[str, str] | None:
    """The row of a problem's text, by the programmatic teacher; None if it is no problem."""
    for kind in KINDS:
        if found := re.fullmatch(_pattern(kind[0]), text):
            words = found.groupdict()
            return _row(kind, int(words.pop("a")), int(words.pop("b")), **words)
    return None


def _row(kind: tuple[str, str, str], a: int, b: int, **words: str) -> dict[str, str]:
    text, sign, rationale = kind
    c = {"+": a + b, "-": a - b, "*": a * b}[sign]
    return {
        "input": text.format(**words, a=a, b=b),
        "label": f"( {a} {sign} {b} )",
        "rationale": rationale.format(**words, a=a, b=b, c=c),
    }


@cache
def _pattern(template: str) -> str:
    """A pattern of a template's texts. A field that occurs twice has the same value."""
    seen = set[str]()

    def group(found: re.Match[str]) -> str:
        if (name := found[1]) in seen:
            return f"(?P={name})"
        seen.add(name)
        return rf"(?P<{name}>\w+)"

    return re.sub(r"\\{(\w+)\\}", group, re.escape(template))


def distillation(folder: Path, *overrides: str) -> list[str]:
    """Arguments of `distill.py`: a few steps on problems that are written into `folder`."""
    write_problems(folder / "train.jsonl", rows=60, seed=0)
    write_problems(folder / "test.jsonl", rows=10, seed=1)
    return [
        str(RECIPE),
        f"data.train={folder / 'train.jsonl'}",
        f"data.test={folder / 'test.jsonl'}",
        *("steps=6", "eval_every=2", "batch_size=8", "validation_rows=12"),
        *overrides,
    ]


def write_problems(path: Path, rows: int, seed: int) -> list[dict[str, str]]:
    """Writes `rows` different problems as JSON lines, and returns them."""
    made = make_rows(problem, rows, seed)
    write_rows(path, made)
    return made
