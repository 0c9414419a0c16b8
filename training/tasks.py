"""Tasks: what an input is, how it reads as text, and when an answer is right."""

import ast
import math
import operator
import re
from typing import Literal, Self

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, model_validator
from simpleeval import simple_eval

_TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined)

_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}
# No strings and no names, and too few characters to nest deeply or to make an infinite number.
_EQUATION = re.compile(r"[0-9 .+*/()-]{1,256}")


class Task(BaseModel):
    """A task, as data: the service reads the same facts from a bundle's manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    fields: list[str] = Field(min_length=1)
    template: str
    predict_prefix: str = "predict: "
    explain_prefix: str = "explain: "
    labels: Literal["open"] = "open"
    answer: Literal["arithmetic"] | None = None

    @model_validator(mode="after")
    def _template_renders(self) -> Self:
        try:
            self.render(dict.fromkeys(self.fields, "text"))
        except Exception as error:  # a template is data: it may raise whatever it likes
            raise ValueError(f"the template fails on {', '.join(self.fields)}: {error}") from error
        return self

    def render(self, fields: dict[str, str]) -> str:
        """The input as one text, without a prefix."""
        stripped = {name: text.strip() for name, text in fields.items()}
        return _TEMPLATES.from_string(self.template).render(stripped)

    def is_right(self, prediction: str, label: str) -> bool:
        """Whether a predicted label is right: for arithmetic, whether its value is."""
        if self.answer == "arithmetic":
            value, expected = evaluate_equation(prediction), evaluate_equation(label)
            if value is not None and expected is not None:
                return math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-6)
        return prediction.strip() == label.strip()


TASKS = {
    "svamp": Task(name="svamp", fields=["text"], template="{{text}}", answer="arithmetic"),
}


def evaluate_equation(equation: str) -> float | None:
    """The value of an infix equation over + - * /, or None where it has none."""
    if not _EQUATION.fullmatch(equation):
        return None
    try:
        return float(simple_eval(equation.strip(), operators=_ARITHMETIC, functions={}, names={}))
    except Exception:  # ast and simpleeval raise many kinds, from ZeroDivisionError to MemoryError
        return None
