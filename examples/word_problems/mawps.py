"""Converts MAWPS (Koncel-Kedziorski et al., 2016) to training rows with equations as labels.

`python -m examples.word_problems.mawps mawps_train.json --out data/mawps.jsonl`

It reads JSON lines, `{"input": …, "equation": "X=((22.0-14.0)/4.0)", "answer": 2.0}`, and writes
rows `{"input": …, "label": …}`. It drops a row where the equation is not solved for x, or where its
value is not the answer.
"""

import argparse
import ast
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tasks.durable_files import replacing
from tasks.equations import equation_tree, evaluate_equation, infix
from training.data.files import read_rows
from training.data.row import DataError, text_of


def label_of_equation(equation: str) -> str | None:
    """`X=((22.0-14.0)/4.0)` as `( ( 22.0 - 14.0 ) / 4.0 )`; None where it is not solved for x."""
    left, _, right = equation.replace(" ", "").partition("=")
    if left.casefold() != "x":
        left, right = right, left
    if left.casefold() != "x":
        return None
    try:
        return infix(equation_tree(right), _written)
    except ValueError:
        return None


def _written(tree: ast.expr) -> str:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, int | float):
        return str(float(tree.value))
    raise ValueError("neither an operation nor a number")


def convert(source: Path, out: Path) -> Counter[str]:
    """Counts of the rows written to `out`, and of the dropped rows by reason.

    Raises DataError where a line of `source` is not such a row.
    """
    counts: Counter[str] = Counter()
    with replacing(out) as file:
        for place, row in read_rows(source, "jsonl"):
            text = text_of(row.get("input"), "input", place)
            label = label_of_equation(text_of(row.get("equation"), "equation", place))
            try:
                answer = float(row.get("answer", ""))
            except (TypeError, ValueError) as error:
                raise DataError(f'{place}: no number under "answer"') from error
            value = None if label is None else evaluate_equation(label)
            if label is None:
                counts["not solved for x"] += 1
            elif value is None or not math.isclose(value, answer, rel_tol=1e-3, abs_tol=1e-6):
                counts["value is not the answer"] += 1
            else:
                counts["rows"] += 1
                file.write(json.dumps({"input": text, "label": label}).encode() + b"\n")
    return counts


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="examples.word_problems.mawps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="a file of MAWPS, as JSON lines")
    parser.add_argument("--out", type=Path, required=True, help="file of rows to write")
    arguments = parser.parse_args(argv)
    try:
        counts = convert(arguments.source, arguments.out)
    except (DataError, OSError) as error:
        print(f"mawps: {error}", file=sys.stderr)
        return 2
    print(", ".join(f"{count} {name}" for name, count in counts.most_common()), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
