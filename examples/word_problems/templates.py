"""Templates of sentences: `{A} [has|owns] {a} {n}` can become several texts."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

_PIECES = re.compile(r"[\[\]|]|\{[^}]*\}|[^\[\]|{]+")


@dataclass(frozen=True, slots=True)
class Reference:
    """`{key}`. Of several keys, `{A|he}`, one is drawn."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`[one|another]`, of which one is drawn."""

    options: tuple["Template", ...]


Template = tuple[str | Reference | Choice, ...]
Resolve = Callable[[str], str]


@cache
def parsed(text: str) -> Template:
    """The parsed template. Raises ValueError where brackets do not match."""
    pieces = _PIECES.findall(text)
    if "".join(pieces) != text:
        raise ValueError(f"a brace is not closed in {text!r}")
    options, end = _options(pieces, 0)
    if end < len(pieces) or len(options) > 1:
        raise ValueError(f"a bracket is missing in {text!r}")
    return options[0]


def expand(template: Template, rng: random.Random, resolve: Resolve) -> str:
    """One of a template's texts, drawn by `rng`. `resolve` gives the text of a key."""
    text = ""
    for piece in template:
        if isinstance(piece, str):
            text += piece
        elif isinstance(piece, Reference):
            text += resolve(rng.choice(piece.keys))
        else:
            text += expand(rng.choice(piece.options), rng, resolve)
    return text


def references(template: Template) -> set[str]:
    """All keys of a template."""
    keys: set[str] = set()
    for piece in template:
        if isinstance(piece, Reference):
            keys.update(piece.keys)
        elif isinstance(piece, Choice):
            keys.update(*map(references, piece.options))
    return keys


def _options(pieces: list[str], start: int) -> tuple[list[Template], int]:
    """The options from `start` to their closing bracket, or to the end, and where that is."""
    options: list[list[str | Reference | Choice]] = [[]]
    place = start
    while place < len(pieces) and pieces[place] != "]":
        piece = pieces[place]
        if piece == "[":
            inner, place = _options(pieces, place + 1)
            if place == len(pieces):
                raise ValueError(f"a bracket is not closed in {''.join(pieces)!r}")
            options[-1].append(Choice(tuple(inner)))
        elif piece == "|":
            options.append([])
        elif piece[0] == "{":
            options[-1].append(Reference(tuple(piece[1:-1].split("|"))))
        else:
            options[-1].append(piece)
        place += 1
    return [tuple(option) for option in options], place
