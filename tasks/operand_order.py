"""The order of operands in equations that count things, for a student that sees placeholders.

Word problems in books count things. Their differences are never negative, and few of their
quotients are fractions. The rules here change 10 of the 800 answers of SVAMP's training problems.
"""

import ast
import re
from collections.abc import Mapping
from itertools import groupby, permutations

from tasks.equations import SIGNS, equation_tree, infix, value_of, value_stated, written

MOST_COMPARED = 8  # numbers of a text; more numbers have too many pairs

# an operation of two numbers at the end of a text
_TWO_NUMBERS = re.compile(r"(?<![\w.,])([0-9][0-9.,]*) ([-/]) ([0-9][0-9.,]*)( = ?)\Z")


def comparison(numbers: Mapping[str, float]) -> str:
    """How numbers compare, by their placeholders: `( n1 n0 = n2 , n0 / n1 , n2 / n1 )`.

    First come the placeholders in the order of their values, with `=` between equal ones. Then
    comes each pair in which the first number is a multiple of the second. An empty text for fewer
    than two numbers, or for more than MOST_COMPARED.
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
    """An infix equation, with operands swapped if only the other order can count things.

    `( 3.0 - 5.0 )` becomes `( 5.0 - 3.0 )`, because the difference was negative. `( 2.0 / 6.0 )`
    becomes `( 6.0 / 2.0 )`: a fraction becomes a whole number. Any other text stays as it is.
    """
    source = equation.strip()

    def number(node: ast.expr) -> str:
        text = ast.get_source_segment(source, node)
        if text is None or not isinstance(node, ast.Constant):
            raise ValueError(f"not a number: {ast.unparse(node)}")
        return text

    try:
        text = infix(_ordered(equation_tree(source)), number)
    except ValueError:
        return equation
    same = equation.replace(" ", "").strip("()") == text.replace(" ", "").strip("()")
    return equation if same else text


def statement_in_counting_order(text: str) -> str:
    """A text with the operands of its last operation in counting order, as "So 5 - 3 = ".

    Only if the text ends in an operation of two numbers, as "So 3 - 5 = "; else the same text.
    """
    found = _TWO_NUMBERS.search(text)
    if found is None:
        return text
    left, sign, right = (found[place] for place in (1, 2, 3))
    try:
        first, second = (float(number.replace(",", "")) for number in (left, right))
        # False if the two numbers are only the end of a longer expression
        alone = value_stated(text) == value_stated(f"{written(first)} {sign} {written(second)} =")
    except ValueError:  # such as 1.2.3
        return text
    if not alone or not _is_turned(sign, first, second):
        return text
    return f"{text[: found.start()]}{right} {sign} {left}{found[4]}"


def _ordered(tree: ast.expr) -> ast.expr:
    """An equation in counting order. Raises ValueError if a part of it has no value."""
    if not isinstance(tree, ast.BinOp):
        return tree
    left, right = _ordered(tree.left), _ordered(tree.right)
    if _is_turned(SIGNS[type(tree.op)], value_of(left), value_of(right)):
        left, right = right, left
    ordered = ast.BinOp(left, tree.op, right)
    value_of(ordered)  # a quotient may have none
    return ordered


def _is_turned(sign: str, first: float, second: float) -> bool:
    if sign == "-":
        return first < second
    return sign == "/" and 0 not in (first, second) and first % second != 0 == second % first
