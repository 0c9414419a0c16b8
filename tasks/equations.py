"""Infix equations over + - * /, and the values of those that prose states."""

import ast
import math
import operator
import re
from collections.abc import Callable
from itertools import pairwise

from simpleeval import simple_eval

OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}
SIGNS: dict[type[ast.AST], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
# No strings and no names, and too few characters to nest deeply or to make an infinite number.
_EQUATION = re.compile(r"[0-9 .+*/()-]{1,256}")
_LONGEST = 256  # characters of an expression in prose
# what may be an expression, from the beginning of a word
_AT_THE_END = re.compile(rf"(?<![\w$,.+*/()-])[0-9 $,.+*/()-]{{0,{_LONGEST}}}\Z")
_BEGINS = re.compile(r"-?[0-9.(]")
_LEFT_OPEN = ("+", "-", "*", "/", "(")
_OPERATES = re.compile(r"[0-9)] *[-+*/]")
# signs of thousands and of money, and leading zeros, none of which an equation has
_UNREAD = re.compile(r"(?<=[0-9]),(?=[0-9]{3})|(?<![0-9.,])0+(?=[0-9])|\$")
_LARGEST = 1e15  # up to which a float holds every integer


def evaluate_equation(equation: str) -> float | None:
    """The value of an infix equation over + - * /, or None where it has none."""
    if not _EQUATION.fullmatch(equation):
        return None
    try:
        return float(simple_eval(equation, operators=OPERATORS, functions={}, names={}))
    except Exception:  # ast and simpleeval raise many kinds, from ZeroDivisionError to MemoryError
        return None


def value_stated(text: str) -> float | None:
    """What must come next to make true a text that ends in `expression =`, as in "So 3 + 4 = ".

    With a minus after the sign, as in "3 - 4 = -", what must come after that. None where there is
    no such end, or where it has no value.
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
    """A value in digits, without decimals where it has none; others have two that count."""
    value = round(value, 9)
    if value == int(value):
        return str(int(value))
    places = max(2, 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0") if float(text) == value else text
