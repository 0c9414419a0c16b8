"""The student of a first recipe, as it is before its training, to measure texts and time with."""

import re
from collections import Counter
from typing import Final

from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging as transformers_logging

from training.student.load import Student
from training.student.unpadded import UnpaddedT5
from training.yaml_files import ConfigError

_BASE: Final = 300  # tokens of a tokenizer from scratch that are no words
_FEWEST, _MOST = 600, 8000
_OFTEN: Final = 3  # times that a word must stand in the texts to be worth a token

_WORD = re.compile(r"\w+")


def vocabulary_for(texts: list[str]) -> int:
    """A size of the vocabulary in which each frequent word of the texts can be one token."""
    counts = Counter(word for text in texts for word in _WORD.findall(text))
    often = sum(count >= _OFTEN for count in counts.values())
    return min(max(round(_BASE + often, -2), _FEWEST), _MOST)


def student_like(name: str) -> Student:
    """A student with the geometry and the tokenizer of a pretrained T5, and random weights.

    So the weights need not be loaded. Raises ConfigError.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        config = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # transformers raises many kinds
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{name} cannot be loaded as a T5 ({reason}); --model names another, or `scratch`"
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    if config.model_type != "t5":
        raise ConfigError(
            f"{name} is a {config.model_type!r}, but a student is a 't5'; --model names another"
        )
    return Student(UnpaddedT5(config), tokenizer)
