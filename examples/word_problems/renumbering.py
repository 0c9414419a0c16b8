"""Gives a word problem other numbers. Its equation stays the same, over the new numbers."""

import random
import re
from dataclasses import replace
from string import ascii_lowercase

from examples.word_problems.equations import equation, letters, solved
from tasks.placeholders import MaskedNumbers
from training.student.files import Example

_PLACEHOLDER = re.compile(r"(?<!\w)n([0-9]+)(?![0-9])")
_LITERAL = re.compile(r"(?<!\w)[0-9]")  # a number that is no placeholder


def renumbered(example: Example, rng: random.Random) -> Example | None:
    """The example with other numbers. All results of its equation are positive and whole.

    None where that is not possible: the input is more than one text, the label is not an equation
    over its numbers, or the rationale has a number that comes from neither.
    """
    if len(example.input) != 1:
        return None
    ((field, text),) = example.input.items()
    if not isinstance(text, str):
        return None
    codec = MaskedNumbers(text)
    places = sorted({int(place) for place in _PLACEHOLDER.findall(codec.text)})
    if not places or places[-1] >= len(ascii_lowercase):
        return None
    try:
        tree = equation(_PLACEHOLDER.sub(_letter, codec.mask_label(example.label)))
    except (ValueError, IndexError):
        return None
    used = frozenset(ascii_lowercase[place] for place in places)
    if not letters(tree) or not letters(tree) <= used:
        return None
    numbers = solved(tree, used, lambda numbers: True, rng)
    if numbers is None:
        return None
    masked_rationale = codec.mask_rationale(example.rationale or "")
    if _LITERAL.search(masked_rationale):
        return None
    new_text = _PLACEHOLDER.sub(lambda found: str(numbers[_letter(found)]), codec.text)
    other = MaskedNumbers(new_text)
    if other.text != codec.text:  # a number beside letters may be none any more
        return None
    return replace(
        example,
        input={field: new_text},
        label=other.restore_label(codec.mask_label(example.label)),
        rationale=example.rationale and other.unmask_rationale(masked_rationale),
    )


def _letter(placeholder: re.Match[str]) -> str:
    return ascii_lowercase[int(placeholder[1])]
