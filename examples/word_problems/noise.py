"""Noise: drops words of a problem's text, or replaces them with made-up words.

Real problems have other wordings than ours. With noise, a student cannot learn from the wording
alone (word dropout: Iyyer et al., 2015, "Deep Unordered Composition Rivals Syntactic Methods for
Text Classification").
"""

import random
import re

from examples.word_problems.words import made_up_word

SHARE = 0.08  # of the words of a text
_WORD = re.compile(r"(?<!\S)[A-Za-z]{2,}(?=[\s.,]) ?")  # the last one has a question mark
# Frequent words: noise may change them although the rationale has them, too.
_COMMON = frozenset(
    "all an and are at did each far fewer for from had has have he her him his how if in is it "  # noqa: SIM905
    "less left long made make makes many more much now of on or other others some than that the "
    "them then there they to was were will with".split()
)


def noised(text: str, rationale: str, rng: random.Random) -> str:
    """The text, with some words dropped and some replaced by made-up words.

    Numbers and signs stay, and so do the names and things in the rationale.
    """
    kept = set(re.findall(r"[a-z]+", rationale.lower())) - _COMMON

    def other(found: re.Match[str]) -> str:
        word, space = found[0].rstrip(), found[0][len(found[0].rstrip()) :]
        if rng.random() >= SHARE or word.lower() in kept:
            return found[0]
        if rng.random() < 0.5 and space and word.islower():
            return ""
        made_up = made_up_word(rng)
        return (made_up if word[0].islower() else made_up.capitalize()) + space

    return _WORD.sub(other, text)
