"""What pydantic found, in Duet's words."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tasks.problems import in_words
from tasks.task import Name


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["part"] = "part"
    width: float = Field(1.0, ge=0, le=1)


class Other(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["other"]
    height: int = 1


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: int = Field(1, gt=0)
    name: str = Field("a", min_length=1, max_length=3)
    code: str = Field("a", pattern="^a+$")
    version: Name = "1"
    yes: bool = True
    parts: list[Annotated[Part | Other, Field(discriminator="kind")]] = Field([], max_length=2)

    @field_validator("name")
    @classmethod
    def _check(cls, name: str) -> str:
        if name == "b":
            raise ValueError("b is taken")
        return name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"steps": "many"}, "expected a whole number"),
        ({"steps": 1.5}, "expected a whole number"),
        ({"steps": 0}, "expected more than 0"),
        ({"name": 3}, "expected text"),
        ({"name": ""}, "expected text, found none"),
        ({"name": "long"}, "expected text of at most 3 characters"),
        ({"name": "b"}, "b is taken"),
        ({"code": "b"}, "expected text that matches ^a+$"),
        (
            {"version": "a b"},
            "expected 1 to 128 letters, digits, '.', '_' and '-', with a letter or digit first",
        ),
        ({"yes": "perhaps"}, "expected true or false"),
        ({"stepz": 3}, "no such key; did you mean steps?"),
        ({"zzz": 3}, "no such key"),
        ({"parts": 3}, "expected a list"),
        ({"parts": [{"kind": "part"}] * 3}, "expected at most 2, found 3"),
        ({"parts": [3]}, "expected keys and values"),
        ({"parts": [{}]}, "'kind' is missing"),
        ({"parts": [{"kind": "x"}]}, "'kind' is 'x', expected one of 'part', 'other'"),
        ({"parts": [{"kind": "part", "width": 2}]}, "expected at most 1"),
        ({"parts": [{"kind": "part", "widht": 2}]}, "no such key; did you mean width?"),
        ({"parts": [{"kind": "other", "heigth": 2}]}, "no such key; did you mean height?"),
    ],
)
def test_what_is_wrong(content: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(content)
    (problem,) = caught.value.errors()
    assert in_words(problem, Whole) == words
