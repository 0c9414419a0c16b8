"""Reads the scenes: what happens, the questions about it, and the reasons for the answers."""

import ast
import operator
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from simpleeval import SimpleEval

from examples.word_problems.equations import Numbers, equation
from examples.word_problems.templates import parsed, references
from examples.word_problems.words import FOLDER
from tasks.equations import OPERATORS
from training.yaml_files import parse_yaml

_COMPARISONS = (ast.Expression, ast.Compare, ast.BoolOp, ast.BinOp, ast.Name, ast.Constant)
_SIGNS = (ast.And, ast.Gt, ast.Add, ast.Mult, ast.Load)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Question(_Part):
    """In `why`, `{=a-b}` writes that equation, `{=eq}` the question's, `{=@1}` its left side."""

    q: str
    eq: str = Field(description="over the letters of the numbers; of `[one|another]` one is drawn")
    why: str
    needs: str | None = None


class Scene(_Part):
    """`nouns` gives the categories of each noun letter. `needs` must be true of the numbers."""

    name: str
    kind: str = Field(description="name of its file, such as change")
    nouns: dict[str, list[str] | str] = {}
    facts: list[str] = Field(min_length=1)
    needs: str | None = None
    ask: list[Question] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_read(self) -> "Scene":
        texts = [*self.facts, *(text for one in self.ask for text in (one.q, one.eq, one.why))]
        for key in set().union(*(references(parsed(text)) for text in texts)):
            if key.startswith("=") and key[1:] not in ("eq", "@1"):
                equation(key[1:])
        for one in self.ask:
            condition(one.needs)
        condition(self.needs)
        return self


@cache
def condition(text: str | None) -> Callable[[Numbers], bool]:
    """A function that tells whether `needs`, such as `a > b + c and d > a`, is true of numbers.

    Raises ValueError. The function raises NameNotDefined where a letter has no number.
    """
    if text is None:
        return lambda numbers: True
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if not isinstance(node, _COMPARISONS + _SIGNS):
            raise ValueError(f"needs: {text!r} may hold only numbers, >, +, * and `and`")
    operators = OPERATORS | {ast.Gt: operator.gt}
    return lambda numbers: bool(
        SimpleEval(operators, {}, numbers).eval(text, previously_parsed=tree.body)
    )


@cache
def all_scenes() -> tuple[Scene, ...]:
    scenes: list[dict[str, Any]] = []
    for path in sorted((FOLDER / "scenes").glob("*.yaml")):
        content = parse_yaml(path.read_text(encoding="utf-8"))
        scenes += [scene | {"kind": path.stem} for scene in content]
    return tuple(map(Scene.model_validate, scenes))


@cache
def asides() -> dict[str, list[str]]:
    """Sentences that a problem may have beside its scene, by kind."""
    content: dict[str, list[str]] = parse_yaml((FOLDER / "asides.yaml").read_text(encoding="utf-8"))
    return content
