"""Infix equations over + - * /: their trees, their values, and the values that prose states."""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from simpleeval import SimpleEval

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}
SIGNS: dict[type[ast.AST], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
# No strings, no names, and too few characters for deep nesting or an infinite number.
_EQUATION = re.compile(r"[0-9 .+*/()-]{1,256}")
_LONGEST = 256  # characters of an expression in prose
# a possible expression at the end of a text, from the beginning of a word
_AT_THE_END = re.compile(rf"(?<![\w$,.+*/()-])[0-9 $,.+*/()-]{{0,{_LONGEST}}}\Z")
_BEGINS = re.compile(r"-?[0-9.(]")
_LEFT_OPEN = ("+", "-", "*", "/", "(")
_OPERATES = re.compile(r"[0-9)] *[-+*/]")
# thousands separators, dollar signs and leading zeros: an equation has none of them
_UNREAD = re.compile(r"(?<=[0-9]),(?=[0-9]{3})|(?<![0-9.,])0+(?=[0-9])|\$")
_LARGEST = 1e15  # a float holds every integer below it


def equation_tree(text: str) -> ast.expr:
    """The syntax tree of an equation over + - * /, numbers and names. Raises ValueError."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        known = all(map(_is_known, ast.walk(tree)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        known = False
    if not known:
        raise ValueError(f"not an equation of + - * /: {text!r}")
    return tree


def value_of(tree: ast.expr, numbers: Mapping[str, float] | None = None) -> float:
    """The value of an equation's tree. `numbers` has the values of its names.

    Raises ValueError if the equation has no value.
    """
    try:
        return float(SimpleEval(OPERATORS, {}, numbers or {}).eval("", previously_parsed=tree))
    except Exception as error:  # from ZeroDivisionError to simpleeval's own
        raise ValueError(f"{ast.unparse(tree)} has no value: {error}") from error


def evaluate_equation(equation: str) -> float | None:
    """The value of an infix equation over + - * /, or None if it has no value."""
    if not _EQUATION.fullmatch(equation):
        return None
    try:
        return value_of(equation_tree(equation))
    except ValueError:
        return None


def operations(tree: ast.expr) -> list[ast.BinOp]:
    """The operations of an equation. Inner operations come before outer ones."""
    parts = (part for part in ast.iter_child_nodes(tree) if isinstance(part, ast.expr))
    inner = [operation for part in parts for operation in operations(part)]
    return [*inner, tree] if isinstance(tree, ast.BinOp) else inner


def infix(tree: ast.expr, number: Callable[[ast.expr], str]) -> str:
    """An equation as text in the form of SVAMP's labels: `( ( 3.0 + 4.0 ) * 2.0 )`.

    `number` writes the operands that are not operations.
    """
    if not isinstance(tree, ast.BinOp):
        return number(tree)
    return f"( {infix(tree.left, number)} {SIGNS[type(tree.op)]} {infix(tree.right, number)} )"


def _is_known(node: ast.AST) -> bool:
    match node:
        case ast.BinOp():
            return type(node.op) in SIGNS
        case ast.UnaryOp():
            return isinstance(node.op, ast.USub)
        case ast.Constant():
            return type(node.value) in (int, float)
    return isinstance(node, ast.Name | ast.operator | ast.unaryop | ast.expr_context)


def value_stated(text: str) -> float | None:
    """The value of the expression at the end of a text, as 7 for "So 3 + 4 = ".

    If a minus follows the equals sign, as in "3 - 4 = -", the value that must follow the minus: 1.
    None if the text does not end in `expression =`, or the expression has no value.
    """
    before, equals, after = text.rpartition("=")
    sign = after.strip(" $")
    if not equals or sign not in ("", "-"):
        return None
    ending = _AT_THE_END.search(before)
    words = ["", *_UNREAD.sub("", ending[0]).split()] if ending else []
    for previous, first in pairwise(range(len(words))):
        expression = " ".join(words[first:])
        if not _OPERATES.search(expression):
            break
        if not _BEGINS.match(expression) or words[previous].endswith(_LEFT_OPEN):
            continue
        value = evaluate_equation(expression)
        if value is not None:
            return (-value if sign else value) if abs(value) < _LARGEST else None
    return None


def written(value: float) -> str:
    """A value in digits: an integer without decimals, else at least two significant digits."""
    value = round(value, 9)
    if value == int(value):
        return str(int(value))
    places = max(2, 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0") if float(text) == value else text
