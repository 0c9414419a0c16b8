"""Words of English prose: their stems, and which of them carry content or name something."""

import re
from functools import lru_cache

from nltk.stem.porter import PorterStemmer

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_STEMMER = PorterStemmer()

# English's closed word classes: every text uses them, whatever it is about
_CLOSED_CLASSES = """
    a an the this that these those some any no each every all both either neither such another
    other same own much many more most few fewer less least several enough
    i me my mine we us our ours you your yours he him his she her hers it its they them their theirs
    himself herself itself themselves who whom whose which what where when why how
    in on at by to of for from with without into onto out off up down over under about after before
    between among through during against within upon per than as like
    and or but nor so if then because while though although however therefore thus also too
    be am is are was were been being have has had having do does did doing
    can could will would shall should may might must not
    there here now just only very still yet again ever never
"""
FUNCTION_WORDS = frozenset(_CLOSED_CLASSES.split())


def words_in(text: str) -> list[str]:
    """The words and numbers of a text, as written."""
    return _WORD.findall(text)


def sentences_in(text: str) -> list[str]:
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of a word by Porter's algorithm (1980), without a possessive ending."""
    return _STEMMER.stem(re.sub(r"['’]s?$", "", word.lower()))


def content_stems(text: str) -> set[str]:
    """The stems of the words that are neither function words nor numbers."""
    words = (word for word in words_in(text) if word.lower() not in FUNCTION_WORDS)
    return {stem(word) for word in words if not word[0].isdigit()}


def names_in(text: str, *, at_starts: bool) -> set[str]:
    """The stems of capitalised words, which stand for names.

    With `at_starts`, words at the start of a sentence count too, apart from function words.
    """
    names = set()
    for sentence in sentences_in(text):
        words = words_in(sentence)
        for word in words if at_starts else words[1:]:
            if word[0].isupper() and word.lower() not in FUNCTION_WORDS:
                names.add(stem(word))
    return names
