"""Says in Duet's words what pydantic found wrong with a value that a person wrote."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

NUMBER = "expected a number"
WHOLE = "expected a whole number"
TRUTH = "expected true or false"
TEXT = "expected text"
NO_TEXT = "expected text, found none"
LIST = "expected a list"
KEYS = "expected keys and values"

WORDS = {
    "missing": "missing",
    "extra_forbidden": "no such key",
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_from_float": WHOLE,
    "int_parsing_size": "the number has too many digits",
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": "expected a finite number",
    "bool_type": TRUTH,
    "bool_parsing": TRUTH,
    "string_type": TEXT,
    "path_type": "expected a path",
    "list_type": LIST,
    "tuple_type": LIST,
    "set_type": LIST,
    "dict_type": KEYS,
    "model_type": KEYS,
    "model_attributes_type": KEYS,
    "dataclass_type": KEYS,
    "invalid_key": "keys must be text",
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "union_tag_invalid": "{discriminator} is {tag!r}, expected one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is missing",
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "string_too_short": "expected text of at least {min_length} characters",
    "string_too_long": "expected text of at most {max_length} characters",
    "string_pattern_mismatch": "expected text that matches {pattern}",
    "too_short": "expected at least {min_length}, found {actual_length}",
    "too_long": "expected at most {max_length}, found {actual_length}",
}

PATTERNS = {
    r"\S": NO_TEXT,
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$": "expected 1 to 128 letters, digits, '.', '_' and '-', "
    "with a letter or digit first",
}


def in_words(problem: ErrorDetails, model: type[BaseModel] | None = None) -> str:
    """What is wrong, without its place. For an unknown key of `model`, names the likeliest."""
    facts = problem.get("ctx", {})
    if problem["type"] == "string_pattern_mismatch" and facts["pattern"] in PATTERNS:
        return PATTERNS[facts["pattern"]]
    if problem["type"] == "string_too_short" and facts["min_length"] == 1:
        return NO_TEXT
    words = WORDS.get(problem["type"])
    if words is None:  # one of Duet's own, or a rare one
        return problem["msg"].removeprefix("Value error, ")
    # 1.0 is written as 1
    whole = {name: int(x) for name, x in facts.items() if isinstance(x, float) and x.is_integer()}
    text = words.format(**facts | whole)
    if problem["type"] == "extra_forbidden" and model is not None:
        *place, key = problem["loc"]
        if close := get_close_matches(str(key), _keys_at(model, place), n=1):
            text += f"; did you mean {close[0]}?"
    return text


def _keys_at(model: type[BaseModel], place: list[int | str]) -> list[str]:
    """The keys that `model` has at a place, of all members where there is a union."""
    models = [model]
    for part in place:
        below = [
            found
            for one in models
            if part in one.model_fields
            for found in _models_in(one.model_fields[str(part)].annotation)
        ]
        models = below or models  # the part may be a union's tag
    return [name for one in models for name in one.model_fields]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
