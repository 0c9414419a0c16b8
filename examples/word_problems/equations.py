"""A problem's equation over letters, and whole numbers for the letters that give whole results."""

import ast
import random
from collections.abc import Callable
from functools import cache

from tasks.equations import SIGNS, equation_tree, infix, operations, value_of, written

Numbers = dict[str, int]

# The largest number of a problem, and how often: small numbers are more frequent in books.
_SCALES, _WEIGHTS = (20, 100, 1000, 1_000_000), (50, 30, 15, 5)
_LARGEST_FACTOR = 20  # of a multiplier or divisor, where it can be chosen
_TRIES = 30


equation = cache(equation_tree)


@cache
def letters(tree: ast.expr) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def label(tree: ast.expr, numbers: Numbers) -> str:
    """The equation as Distilling Step-by-Step writes SVAMP's labels: `( ( 3.0 + 4.0 ) * 2.0 )`."""
    return infix(tree, lambda number: str(value_of(number, numbers)))


class Teacher:
    """Writes equations as `84 / 2 = 42`. A part that it wrote before is written as its result."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self._known: dict[str, str] = {}

    def state(self, tree: ast.expr) -> str:
        result = written(value_of(tree, self.numbers))
        text = f"{self._side(tree, outer=True)} = {result}"
        self._known[ast.dump(tree)] = result
        return text

    def _side(self, tree: ast.expr, *, outer: bool = False) -> str:
        if not isinstance(tree, ast.BinOp):
            return written(value_of(tree, self.numbers))
        if not outer and (known := self._known.get(ast.dump(tree))) is not None:
            return known
        sign = SIGNS[type(tree.op)]
        text = f"{self._side(tree.left)} {sign} {self._side(tree.right)}"
        return text if outer else f"( {text} )"


def solved(
    tree: ast.expr, used: frozenset[str], holds: Callable[[Numbers], bool], rng: random.Random
) -> Numbers | None:
    """A different number for each letter of `used`, or None where none were found in some tries.

    `holds` is true of the numbers. Every part of the equation is a positive integer, and no part
    equals one of the numbers.
    """
    for _ in range(_TRIES):
        (largest,) = rng.choices(_SCALES, _WEIGHTS)
        numbers = {letter: rng.randint(2, largest) for letter in sorted(used)}
        for node in operations(tree):
            _even_out(node, numbers, largest, rng)
        taken = [*numbers.values(), *_constants(tree)]
        results = [value_of(node, numbers) for node in operations(tree)]
        if (
            len({*taken, *results}) == len(taken) + len(results)
            and all(result > 0 and result == int(result) for result in results)
            and min(taken) > 0
            and holds(numbers)
        ):
            return numbers
    return None


@cache
def _constants(tree: ast.expr) -> frozenset[float]:
    return frozenset(
        float(str(node.value)) for node in ast.walk(tree) if isinstance(node, ast.Constant)
    )


def _even_out(node: ast.BinOp, numbers: Numbers, largest: int, rng: random.Random) -> None:
    """Changes a number so that a difference is positive, or a quotient whole."""
    match node.op:
        case ast.Mult():
            for side in (node.left, node.right):
                if isinstance(side, ast.Name) and numbers[side.id] > _LARGEST_FACTOR:
                    numbers[side.id] = rng.randint(2, _LARGEST_FACTOR)
                    break
        case ast.Sub() if value_of(node, numbers) <= 0:
            more = value_of(node.right, numbers) + rng.randint(1, largest)
            _set(node.left, int(more), numbers)
        case ast.Div():
            if isinstance(node.right, ast.Name) and numbers[node.right.id] > _LARGEST_FACTOR:
                numbers[node.right.id] = rng.randint(2, _LARGEST_FACTOR)
            multiple = int(value_of(node.right, numbers)) * rng.randint(2, max(3, largest // 10))
            left = node.left
            if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult):
                left = left.left
            _set(left, multiple, numbers)


def _set(tree: ast.expr, value: int, numbers: Numbers) -> None:
    """Gives a part of an equation a value, where a change of one number can do that."""
    if isinstance(tree, ast.Name):
        numbers[tree.id] = value
    elif isinstance(tree, ast.BinOp):
        other = value_of(tree.right, numbers)
        if isinstance(tree.op, ast.Add):
            _set(tree.left, int(value - other), numbers)
        elif isinstance(tree.op, ast.Sub):
            _set(tree.left, int(value + other), numbers)
