"""Markdown that programs write: tables, and blocks of a file that people write."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

_SIGNS = re.compile(r"([\\`*_\[\]|~])")  # what has a meaning for Markdown within a line


class NoBlockError(ValueError):
    """A file has no block of that name."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text, and the others numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def as_plain(text: str) -> str:
    """The text on one line, so that Markdown shows it as it is within a line."""
    return _SIGNS.sub(r"\\\1", escape(" ".join(text.split()), quote=False))


def as_fenced(text: str) -> str:
    """The text as a block of code, whatever it holds."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def rewrite_block(path: Path, name: str, text: str) -> None:
    """Replaces the text between the marks of that name in a Markdown file.

    Raises NoBlockError without marks.
    """
    content, count = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
        lambda found: f"{found[1]}{text}\n{found[2]}",
        path.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if not count:
        raise NoBlockError(f"{path}: has no <!-- {name} --> and <!-- /{name} --> around a block")
    path.write_text(content, encoding="utf-8")
