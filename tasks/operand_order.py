"""Counting: what numbers of things are to each other, for a student that does not see their values.

Word problems of books count things: no difference of theirs is negative, and few quotients are
broken. Of SVAMP's 800 training problems 10 have an answer that this turns round.
"""

import ast
import re
from collections.abc import Mapping
from itertools import groupby, permutations

from tasks.equations import OPERATORS, SIGNS, value_stated, written

MOST_COMPARED = 8  # numbers of a text: of more there are too many pairs

# the end of a text that says an operation of two numbers
_TWO_NUMBERS = re.compile(r"(?<![\w.,])([0-9][0-9.,]*) ([-/]) ([0-9][0-9.,]*)( = ?)\Z")


def comparison(numbers: Mapping[str, float]) -> str:
    """How numbers compare, for whom only sees their names: `( n1 n0 = n2 , n0 / n1 , n2 / n1 )`.

    First the names in the order of their values, with a sign between equal ones; then each pair of
    which one is a multiple of the other. Of fewer than two names, or more than MOST_COMPARED,
    nothing is said.
    """
    if not 2 <= len(numbers) <= MOST_COMPARED:
        return ""
    in_order = groupby(sorted(numbers, key=numbers.__getitem__), key=numbers.__getitem__)
    said = [" ".join(" = ".join(equal) for _, equal in in_order)]
    said += [
        f"{many} / {one}" for many, one in permutations(numbers, 2) if _divides(numbers, many, one)
    ]
    return f"( {' , '.join(said)} )"


def _divides(numbers: Mapping[str, float], many: str, one: str) -> bool:
    return 1 < numbers[one] < numbers[many] and numbers[many] % numbers[one] == 0


def in_counting_order(equation: str) -> str:
    """An infix equation, with the sides of an operation changed where only so it can count things.

    `( 3.0 - 5.0 )` becomes `( 5.0 - 3.0 )`, and `( 2.0 / 6.0 )`, which is broken, `( 6.0 / 2.0 )`,
    which is whole. Whatever has no such operation, or is no equation, stays as it is.
    """
    try:
        tree = ast.parse(equation.strip(), mode="eval").body
        text, _ = _ordered(tree, equation.strip())
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return equation
    same = equation.replace(" ", "").strip("()") == text.replace(" ", "").strip("()")
    return equation if same else text


def statement_in_counting_order(text: str) -> str:
    """The same for a text that ends in an operation of two numbers, as in "So 3 - 5 = "."""
    found = _TWO_NUMBERS.search(text)
    if found is None:
        return text
    left, sign, right = (found[place] for place in (1, 2, 3))
    try:
        first, second = (float(number.replace(",", "")) for number in (left, right))
        # else the two are only the end of a longer expression
        alone = value_stated(text) == value_stated(f"{written(first)} {sign} {written(second)} =")
    except ValueError:  # such as 1.2.3
        return text
    if not alone or not _is_turned(sign, first, second):
        return text
    return f"{text[: found.start()]}{right} {sign} {left}{found[4]}"


def _ordered(node: ast.expr, source: str) -> tuple[str, float]:
    """A part of an equation in order, and its value. Raises ValueError for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return ast.get_source_segment(source, node) or "", float(node.value)
    if not isinstance(node, ast.BinOp) or type(node.op) not in SIGNS:
        raise ValueError(f"not an equation of + - * /: {source!r}")
    sign = SIGNS[type(node.op)]
    sides = _ordered(node.left, source), _ordered(node.right, source)
    if _is_turned(sign, sides[0][1], sides[1][1]):
        sides = sides[1], sides[0]
    (left, first), (right, second) = sides
    return f"( {left} {sign} {right} )", OPERATORS[type(node.op)](first, second)


def _is_turned(sign: str, first: float, second: float) -> bool:
    if sign == "-":
        return first < second
    return sign == "/" and 0 not in (first, second) and first % second != 0 == second % first
