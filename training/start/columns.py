"""Which columns hold texts that a student can read, and why the others do not."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from training.start.survey import Column

MOSTLY: Final = 0.9  # a share of values that decides what a column holds
FEW: Final = 50  # values of a column that are a choice, not texts
MISSING: Final = 0.05  # share of rows without a value, from which on a column is no field

_IDS = re.compile(r"(.*[_. ])?(id|ids|uid|uuid|guid|key|hash|index|idx|row|nr|no)", re.IGNORECASE)
_CAMEL_IDS = re.compile(r".*[a-z](ID|Id)")
_URL = re.compile(r"(https?|ftp)://\S+|www\.\S+")
_TIME = re.compile(
    r"\d{4}-\d\d?-\d\d?([T ]\d\d?:\d\d(:\d\d(\.\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?)?"
    r"|\d\d?[./-]\d\d?[./-]\d{2,4}([T ]\d\d?:\d\d.*)?|\d\d?:\d\d(:\d\d)?"
)


def why_no_text(column: Column) -> str | None:
    """Why a column is no text to read, in a few words; None if it is one."""
    if not column.filled:
        return "empty"
    if len(column.counts) == 1:
        return "the same in every row"
    if not column.holds_texts:
        return _kind(column)
    if (share := column.missing) > MISSING:
        return f"missing in {share:.0%} of the rows"
    texts = column.texts
    if _mostly(texts, _is_number):
        return "numbers"
    if _mostly(texts, _URL.fullmatch):
        return "addresses"
    if _mostly(texts, _TIME.fullmatch):
        return "times"
    words = not _mostly(texts, lambda text: " " not in text)
    if not words and (is_id_name(column.name) or _looks_like_ids(column)):
        return "ids"
    if not words and len(column.counts) <= min(FEW, len(texts) / 2):
        return f"one of {len(column.counts)} words"
    return None


def is_id_name(name: str) -> bool:
    return bool(_IDS.fullmatch(name) or _CAMEL_IDS.fullmatch(name))


def _looks_like_ids(column: Column) -> bool:
    """One word in each row, most with a digit, and few of them often."""
    return len(column.counts) >= len(column.filled) / 2 and _mostly(
        column.texts, lambda text: any(map(str.isdigit, text))
    )


def _kind(column: Column) -> str:
    if all(isinstance(value, bool) for value in column.filled):
        return "true or false"
    if all(isinstance(value, int | float) for value in column.filled):
        return "numbers"
    return "lists" if all(isinstance(value, list) for value in column.filled) else "not only texts"


def _mostly(texts: Sequence[str], test: Callable[[str], object]) -> bool:
    return sum(map(bool, map(test, texts))) >= MOSTLY * len(texts)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True
