"""Writes nested keys and values as YAML with comments."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

WIDTH: Final = 100  # columns; a longer comment stands above its line


def commented_yaml(content: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """YAML of `content`, with a comment beside or above each key that `comments` has.

    `a.b` is the key b below a, and also the item b of the list a.
    """
    return "".join(f"{line}\n" for line in _lines(content, comments, "", ""))


def _lines(
    content: Mapping[str, Any], comments: Mapping[str, str], above: str, indent: str
) -> Iterator[str]:
    for key, value in content.items():
        path = f"{above}{key}"
        comment = comments.get(path)
        items = value if isinstance(value, list) else []
        if isinstance(value, dict) and value:
            yield from _with_comment(f"{indent}{_scalar(key)}:", comment, indent)
            yield from _lines(value, comments, f"{path}.", f"{indent}  ")
        elif any(f"{path}.{item}" in comments for item in items):
            yield from _with_comment(f"{indent}{_scalar(key)}:", comment, indent)
            for item in items:
                line = f"{indent}  - {_scalar(item)}"
                yield from _with_comment(line, comments.get(f"{path}.{item}"), f"{indent}  ")
        else:
            yield from _with_comment(f"{indent}{_scalar(key)}: {_scalar(value)}", comment, indent)


def _with_comment(line: str, comment: str | None, indent: str) -> Iterator[str]:
    if comment is None:
        yield line
    elif len(beside := f"{line}  # {comment}") <= WIDTH:
        yield beside
    else:
        yield f"{indent}# {comment}"
        yield line


def _scalar(value: Any) -> str:
    """A value in one line."""
    quoted = '"' if isinstance(value, str) and "\n" in value else None  # so that it is one
    text = yaml.safe_dump(
        value, default_style=quoted, default_flow_style=True, allow_unicode=True, width=2**31
    )
    return text.removesuffix("\n").removesuffix("\n...")
