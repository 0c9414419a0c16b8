"""Arithmetic in prose: the numbers, expressions and statements in a rationale."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest

from tasks.equations import equation_tree, evaluate_equation, operations, value_of

_TOKEN = re.compile(
    r"""(?P<number>(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w))
    |(?P<operator>[-+*/×÷−]|\b(?:plus|minus|times|divided\ by|multiplied\ by|[xX])\b)
    |(?P<bracket>[()])
    |(?P<equals>=|\b(?:is|equals|makes)\b)
    |(?P<currency>[$€£])
    |(?P<word>\w+(?:['’]\w+)?)
    |(?P<other>\S)""",
    re.VERBOSE,
)
_SIGNS = {"×": "*", "x": "*", "X": "*", "times": "*", "multiplied by": "*"}
_SIGNS |= {"÷": "/", "divided by": "/", "−": "-", "plus": "+", "minus": "-"}
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
_NUMBER_WORDS = {word: float(value) for value, word in enumerate(_WORDS.split())}


@dataclass(frozen=True)
class Number:
    """A number in digits, without its sign."""

    value: float
    decimals: int  # digits after the point
    start: int

    def states(self, value: float) -> bool:
        """Whether it has that value, up to its sign. A number with decimals may be rounded."""
        slack = 0.5 * 10**-self.decimals if self.decimals else 0.0
        return abs(abs(value) - self.value) <= slack + 1e-6 * max(1, self.value)


@dataclass(frozen=True)
class Expression:
    """Numbers with operators between them, which have a value."""

    text: str
    value: float
    end: int

    @property
    def values(self) -> list[float]:
        """The values of its parts, then its own value."""
        return [value_of(part) for part in operations(equation_tree(self.text))]


@dataclass(frozen=True)
class Statement:
    """`a op b = c`, also with more operators, or with "is" as the equals sign."""

    text: str
    true: bool


@dataclass
class _Side:
    """One side of an equals sign."""

    tokens: list[str] = field(default_factory=list)
    last: Number | None = None
    end: int = 0
    partial: bool = False  # it does not begin with a number, as in "some - 7"

    def read(self) -> tuple[str, float | None]:
        text = " ".join(_without_loose_ends(self.tokens))
        return text, None if self.partial else evaluate_equation(text)


def numbers_in(text: str) -> list[Number]:
    return [_number(found) for found in _TOKEN.finditer(text) if found.lastgroup == "number"]


def number_words_in(text: str) -> set[float]:
    """The values of the numbers up to twenty that are written as words."""
    words = (word.casefold() for word in re.findall(r"\w+", text))
    return {_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS}


def read_arithmetic(text: str) -> tuple[list[Expression], list[Statement]]:
    """Finds the expressions and statements of a text, in order.

    A unit may follow a number (`5 apples + 3 apples = 8 apples`). A statement is true where both
    sides are equal; a result with decimals may be rounded, an integer may not.
    """
    expressions, statements = [], []
    for sides in _equalities(text):
        read = [(side, *side.read()) for side in sides]
        for side, written, value in read:
            if value is not None and _has_operator(written):
                expressions.append(Expression(written, value, side.end))
        for (_, a, value), (right, b, other) in pairwise(read):
            if value is None or other is None or not (_has_operator(a) or _has_operator(b)):
                continue
            true = math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-6)
            if not true and not _has_operator(b) and right.last is not None:
                true = value * other > 0 and right.last.states(value)
            statements.append(Statement(f"{a} = {b}", true))
    return expressions, statements


def _equalities(text: str) -> Iterator[list[_Side]]:
    """Chains of sides with equals signs between them. A single side is a chain too."""
    tokens = list(_TOKEN.finditer(text))
    sides, before = [_Side()], ""
    for token, after in zip_longest(tokens, tokens[1:]):
        kind, word = token.lastgroup or "", token[0]
        if kind == "currency":
            continue
        if kind == "word" and before == "number" and _goes_on(after):
            continue  # a unit
        opens = kind == "number" or word == "("
        value_ended = before == "number" or before == ")"
        if kind in ("word", "other") or (opens and value_ended):
            yield sides
            sides = [_Side()]
        if kind == "equals":
            sides.append(_Side())
        elif kind in ("number", "operator", "bracket"):
            side = sides[-1]
            if kind == "operator" and before == "word" and not side.tokens:
                side.partial = word != "-" or after is None or after.start() > token.end()
            side.tokens.append(_SIGNS.get(word, word).replace(",", ""))
            side.end = token.end()
            if kind == "number":
                side.last = _number(token)
        before = word if kind == "bracket" else kind
    yield sides


def _goes_on(token: re.Match[str] | None) -> bool:
    return token is not None and token[0] in ("+", "-", "*", "/", "×", "÷", "−", "=")


def _number(token: re.Match[str]) -> Number:
    digits = token[0].replace(",", "")
    return Number(float(digits), len(digits.partition(".")[2]), token.start())


def _has_operator(written: str) -> bool:
    return any(sign in written.lstrip("- ") for sign in "+-*/")


def _without_loose_ends(tokens: list[str]) -> list[str]:
    """The tokens without operators that nothing follows, and without unmatched brackets."""
    opened: list[int] = []
    loose = set()
    for place, token in enumerate(tokens):
        if token == "(":
            opened.append(place)
        elif token == ")":
            if opened:
                opened.pop()
            else:
                loose.add(place)
    loose.update(opened)
    kept = [token for place, token in enumerate(tokens) if place not in loose]
    while kept and kept[-1] in "+-*/":
        kept.pop()
    return kept
