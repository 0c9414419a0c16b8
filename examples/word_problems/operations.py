"""Converts a recipe's word problems to rows whose label is the operation that the problem needs.

`python -m examples.word_problems.operations RECIPE --out FOLDER`

It writes `train.jsonl`, `validation.jsonl` and `test.jsonl`. It drops rows without an operation.
"""

import argparse
import ast
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.durable_files import replacing
from tasks.equations import equation_tree
from tasks.equations import operations as operations_of
from training.config import load_config
from training.data.row import DataError
from training.data.splits import load_splits
from training.student.files import Example
from training.yaml_files import ConfigError

SEVERAL = "several steps"
_NAMES: dict[type[ast.operator], str] = {
    ast.Add: "addition",
    ast.Sub: "subtraction",
    ast.Mult: "multiplication",
    ast.Div: "division",
}
OPERATIONS = [*_NAMES.values(), SEVERAL]


def operation(equation: str) -> str:
    """The name of an equation's operation: "division" for `( 84.0 / 2.0 )`.

    An equation with more than one operator is "several steps". Raises ValueError where the text
    is not an equation of + - * /, or has no operator.
    """
    names = [_NAMES[type(one.op)] for one in operations_of(equation_tree(equation))]
    if not names:
        raise ValueError(f"an equation without an operator: {equation!r}")
    return names[0] if len(names) == 1 else SEVERAL


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="examples.word_problems.operations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path, help="a recipe with equations as labels")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes of the recipe")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        splits = load_splits(load_config(arguments.recipe, arguments.overrides))
        arguments.out.mkdir(parents=True, exist_ok=True)
        for name in ("train", "validation", "test"):
            _write(getattr(splits, name), arguments.out / f"{name}.jsonl")
    except (ConfigError, DataError, OSError) as error:
        print(f"operations: {error}", file=sys.stderr)
        return 2
    return 0


def _write(examples: list[Example], path: Path) -> None:
    """Writes the rows that have an operation, and logs the number of the others."""
    left_out = 0
    with replacing(path) as file:
        for example in examples:
            try:
                label = operation(example.label)
            except ValueError:
                left_out += 1
                continue
            row = {**example.input, "label": label, "rationale": example.rationale}
            file.write(json.dumps(row).encode() + b"\n")
    logging.info("%s: %d rows, %d without an operation", path, len(examples) - left_out, left_out)


if __name__ == "__main__":
    sys.exit(main())
