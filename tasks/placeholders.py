"""Placeholders: replaces a text's numbers by n0, n1, … in order, and restores them in the answer.

A student from scratch cannot learn the meaning of every number. It can learn what to do with a
text's first and second number (Wang et al., 2017, "Deep Neural Solver for Math Word Problems"). In
its rationales, results are r0, r1, …. The codec computes a result from the expression before the
equals sign. So the arithmetic of a rationale is right, even if the student's would be wrong.
"""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from tasks.equations import value_stated, written
from tasks.operand_order import comparison, in_counting_order, statement_in_counting_order

# How a task treats numbers: see MaskedNumbers and CountedNumbers. None: as ordinary text.
Numbers = Literal["masked", "counted"]

# A student from scratch has these as single tokens. A text may have more.
PLACEHOLDERS = [f"n{place}" for place in range(16)] + [f"r{place}" for place in range(8)]

MOST_NUMBERS = 1024  # of a text that are masked, so that a huge text takes no time

_UNITS = "two three four five six seven eight nine"  # "one" is seldom a number
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: value for value, word in enumerate(f"{_UNITS} {_TEENS}".split(), 2)}
_WORDS |= {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
_COUNTED = {"one": 1} | {word: _WORDS[word] for word in _UNITS.split()}
_WORDS |= {
    f"{tens}-{unit}": _WORDS[tens] + value
    for tens in _TENS.split()
    for unit, value in _COUNTED.items()
}

_DIGITS = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,4}|[0-9]{1,15})(?![0-9])(?:\.[0-9]{1,20}(?![0-9]))?"
    r"(?!(?:st|nd|rd|th)\b)"  # not an ordinal
)
_NUMBER = re.compile(rf"(?<!\w){_DIGITS}")
_PLACEHOLDER = re.compile(r"(?<!\w)([nr])([0-9]{1,6})(?![0-9])")
# A text may contain something like a placeholder. It becomes a number without a value, so it is
# restored as it was.
_TAKEN = re.compile(
    rf"(?<!\w)(?:{_DIGITS}|[nr][0-9]{{1,6}}(?![0-9])"
    rf"|(?i:{'|'.join(sorted(_WORDS, key=len, reverse=True))})\b)"
)
_UNSETTLED = re.compile(r"(?<!\w)[nr][0-9]*\Z")
_UNSETTLED_STATEMENT = re.compile(r"(?<![\w$,.+*/()=-])[nr0-9 $,.+*/()=-]+\Z")


class Codec:
    """Translates the texts of one input for the student and back. This one changes nothing."""

    def __init__(self, text: str) -> None:
        self.text = text  # what the student reads

    def mask_label(self, label: str) -> str:
        return label

    def mask_rationale(self, rationale: str) -> str:
        return rationale

    def restore_label(self, label: str) -> str:
        """The label before `mask_label`."""
        return label

    def unmask_label(self, label: str) -> str:
        """The label for people, from the label that the student wrote."""
        return self.restore_label(label)

    def unmask_rationale(self, rationale: str) -> str:
        return rationale

    def unmask_settled(self, rationale: str) -> str:
        """The part of an unfinished rationale that later text cannot change."""
        return rationale


@dataclass(frozen=True)
class _Number:
    """A number of the input: as written there, and in digits if it has a value."""

    text: str
    digits: str | None

    @property
    def value(self) -> float | None:
        return None if self.digits is None else _value(self.digits)

    @property
    def as_float(self) -> str:
        """The number as labels' equations have it: 84.0."""
        if self.digits is None:
            return self.text
        whole, _, decimals = self.digits.replace(",", "").partition(".")
        return f"{whole}.{decimals.rstrip('0') or '0'}"


class MaskedNumbers(Codec):
    """Replaces numbers by placeholders.

    A number of a label or rationale becomes the placeholder of the input's number with the same
    value. If several have that value, they take turns. Other numbers, such as the 7 days of a week,
    stay. Unmasking writes `84.0` in a label, and the input's own `84`, `1,200` or `0.50` in a
    rationale.

    If a rationale's number is the value of the expression before it, as in `84 / 2 = 42`, it
    becomes a result, r0. The same number later becomes r0, too. A wrong result stays as it is.
    """

    def __init__(self, text: str) -> None:
        self._numbers: list[_Number] = []
        super().__init__(_TAKEN.sub(self._take, text, count=MOST_NUMBERS))

    def mask_label(self, label: str) -> str:
        turns: Counter[float] = Counter()
        return _NUMBER.sub(lambda found: self._placeholder(found[0], turns), label)

    def mask_rationale(self, rationale: str) -> str:
        turns: Counter[float] = Counter()
        made: list[str] = []
        latest: dict[str, str] = {}  # placeholder, by result

        def placeholder(found: re.Match[str]) -> str:
            number = found[0]
            value = value_stated(rationale[: found.start()])
            if value is not None and written(value) == number:
                latest[number] = f"r{len(made)}"
                made.append(number)
                return latest[number]
            if value is None and number in latest:
                return latest[number]
            return self._placeholder(number, turns)

        return _NUMBER.sub(placeholder, rationale)

    def restore_label(self, label: str) -> str:
        return _PLACEHOLDER.sub(lambda found: self._number(found).as_float, label)

    def unmask_rationale(self, rationale: str) -> str:
        results: dict[str, str] = {}
        text, end = "", 0
        for found in _PLACEHOLDER.finditer(rationale):
            text += rationale[end : found.start()]
            end = found.end()
            if found[1] == "n":
                number = self._number(found)
                text += number.digits or number.text
                continue
            text = self._stated(text)
            value = value_stated(text)
            if value is not None:
                results[found[0]] = written(value)
            text += results.get(found[0], found[0])
        return text + rationale[end:]

    def unmask_settled(self, rationale: str) -> str:
        return self.unmask_rationale(_UNSETTLED.sub("", rationale)).rstrip()

    def _stated(self, text: str) -> str:
        """The text of a rationale before a result. The result is computed from its end."""
        return text

    def _take(self, found: re.Match[str]) -> str:
        text = found[0]
        if text[0] in "nr" and text[1].isdigit():
            digits = None
        elif text[0].isdigit():
            digits = text
        else:
            digits = str(_WORDS[text.lower()])
        self._numbers.append(_Number(text, digits))
        return f"n{len(self._numbers) - 1}"

    def _placeholder(self, number: str, turns: Counter[float]) -> str:
        """The placeholder of the input's next number with this value; `number` if there is none."""
        value = _value(number)
        places = [place for place, one in enumerate(self._numbers) if one.value == value]
        if not places:
            return number
        turns[value] += 1
        return f"n{places[(turns[value] - 1) % len(places)]}"

    def _number(self, placeholder: re.Match[str]) -> _Number:
        """The number of a placeholder; the placeholder itself if the input has no such number."""
        place = int(placeholder[2])
        if placeholder[1] == "n" and place < len(self._numbers):
            return self._numbers[place]
        return _Number(placeholder[0], None)


class CountedNumbers(MaskedNumbers):
    """Replaces numbers of counted things by placeholders.

    After the text, the student reads how its numbers compare. Unmasking swaps the operands of an
    operation in the wrong order: its result is negative, or a fraction that the swap makes whole.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        values = ((f"n{place}", number.value) for place, number in enumerate(self._numbers))
        said = comparison({name: value for name, value in values if value is not None})
        self.text = f"{self.text} {said}" if said else self.text

    def unmask_label(self, label: str) -> str:
        return in_counting_order(super().unmask_label(label))

    def unmask_settled(self, rationale: str) -> str:
        return super().unmask_settled(_UNSETTLED_STATEMENT.sub("", rationale))

    def _stated(self, text: str) -> str:
        return statement_in_counting_order(text)


def _value(digits: str) -> float:
    return float(digits.replace(",", ""))


def codec_of(numbers: Numbers | None, text: str) -> Codec:
    """The codec of one input, by its task's `numbers`. `text` is the rendered input."""
    if numbers is None:
        return Codec(text)
    return CountedNumbers(text) if numbers == "counted" else MaskedNumbers(text)


def check_maskable(numbers: Numbers | None, labels: object) -> None:
    """Raises ValueError if a label to choose from may hold a number, which masking would change."""
    if numbers is None or labels == "open":
        return
    if not isinstance(labels, list) or any(map(str.isdigit, "".join(labels))):
        raise ValueError(
            "numbers: they can only be masked if the labels are open, or a list without digits"
        )
