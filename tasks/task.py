"""The task: the fields of an input, the template that renders them, and the possible labels."""

import math
import reprlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, starmap
from typing import Annotated, Any, Final, Literal, Self

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from tasks.equations import evaluate_equation
from tasks.placeholders import Codec, Numbers, check_maskable, codec_of

_TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined)

MAX_LABELS: Final = 1000  # of a closed set

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Label = Annotated[str, StringConstraints(pattern=r"\S")]
Fields = dict[str, str | list[str]]  # an input: texts, and lists of labels to choose from
Whitespace = Literal["collapse", "keep"]


def texts_in(fields: Fields) -> list[str]:
    """Every text of an input, also those in lists."""
    values = ([value] if isinstance(value, str) else value for value in fields.values())
    return list(chain.from_iterable(values))


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    return _TEMPLATES.from_string(template)


def render_template(template: str, fields: Mapping[str, str | Sequence[str]]) -> str:
    """The text that a sandboxed Jinja2 template makes of an input's stripped fields.

    A template is data: it may raise any exception.
    """
    stripped = {
        name: value.strip() if isinstance(value, str) else [text.strip() for text in value]
        for name, value in fields.items()
    }
    return _compiled(template).render(stripped)


def _one_line(text: str) -> str:
    return " ".join(text.split())


class LabelField(BaseModel):
    """Each input brings its own labels, as a list in one of its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: str = Field(description="the field of the input that lists its labels")


class Task(BaseModel):
    """A task, as recipes and manifests hold it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="name of the task")
    fields: list[str] = Field(min_length=1, description="names of the input's fields, in order")
    template: str = Field(description="Jinja2 template that renders the fields to one text")
    whitespace: Whitespace = Field(
        "collapse",
        description="collapse: each run of white space in a field is one space before the template "
        "renders it; keep: the template gets the fields as they are",
    )
    predict_prefix: str = Field(
        "predict: ", description="stands before the text where the student writes a label"
    )
    explain_prefix: str = Field(
        "explain: ", description="stands before the text where the student writes a rationale"
    )
    labels: Literal["open"] | Annotated[list[Label], Field(max_length=MAX_LABELS)] | LabelField = (
        Field(
            "open",
            description="open: the label is decoded freely; a list: the label is one of these; "
            "`{field: NAME}`: the label is one of those in this field of the input",
        )
    )
    answer: Literal["arithmetic"] | None = Field(
        None, description="arithmetic: the label is an equation, and its value is the answer"
    )
    numbers: Numbers | None = Field(
        None,
        description="masked: the student reads the input's numbers as n0, n1, …; counted: it also "
        "reads how they compare; null: it reads the numbers themselves",
    )
    explain_given_label: bool = Field(
        False,
        description="true: the rationale is written after the label and explains it, as in "
        "PredictAndExplain (Camburu et al., 2018); false: it is written from the input alone",
    )
    examples: list[Fields] = Field(default=[], description="inputs to try")

    @property
    def choices(self) -> str | None:
        """The field that holds an input's labels; None if no field does."""
        return self.labels.field if isinstance(self.labels, LabelField) else None

    @property
    def texts(self) -> list[str]:
        """The fields that hold a text."""
        return [name for name in self.fields if name != self.choices]

    def form(self) -> Fields:
        """The form of an input: each field, with "…" in place of a text."""
        return self._filled_with("…")

    def labels_of(self, fields: Fields) -> list[str] | None:
        """The labels that an input can have; None if labels are open."""
        if isinstance(self.labels, list):
            return self.labels
        return None if self.choices is None else [label.strip() for label in fields[self.choices]]

    def render(self, fields: Mapping[str, str | Sequence[str]]) -> str:
        """The input as one text, without a prefix. Raises the template's exceptions."""
        if self.whitespace == "collapse":
            fields = {
                name: _one_line(value) if isinstance(value, str) else list(map(_one_line, value))
                for name, value in fields.items()
            }
        return render_template(self.template, fields)

    def check_example(self, example: Fields) -> None:
        """Raises ValueError if an example has other fields than the task, or an empty text."""
        if set(example) != set(self.fields) or not all(starmap(self._fits, example.items())):
            raise ValueError(
                f"an example must give each of {', '.join(self.fields)} a text, unlike "
                f"{reprlib.repr(example)}"
            )

    def codec(self, text: str) -> Codec:
        """The codec of a rendered input: masks texts for the student, and unmasks its answers."""
        return codec_of(self.numbers, text)

    def is_right(self, prediction: str, label: str) -> bool:
        """Whether a predicted label is right. Equations are compared by their values."""
        if self.answer == "arithmetic":
            value, expected = evaluate_equation(prediction), evaluate_equation(label)
            if value is not None and expected is not None:
                return math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-6)
        return prediction.strip() == label.strip()

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.choices is not None and self.choices not in self.fields:
            raise ValueError(f"labels: {self.choices!r} is not a field of the task")
        if isinstance(self.labels, list) and len(set(self.labels)) != max(1, len(self.labels)):
            raise ValueError("labels: expected at least one label, and no label twice")
        check_maskable(self.numbers, self.labels)
        return self

    @model_validator(mode="after")
    def _template_renders(self) -> Self:
        try:
            self.render(self._filled_with("text"))
        except Exception as error:  # a template is data: it may raise any exception
            raise ValueError(f"the template fails on {', '.join(self.fields)}: {error}") from error
        return self

    @model_validator(mode="after")
    def _examples_fit(self) -> Self:
        for example in self.examples:
            self.check_example(example)
        return self

    def _filled_with(self, text: str) -> Fields:
        return {name: [text] if name == self.choices else text for name in self.fields}

    def _fits(self, field: str, value: str | list[str]) -> bool:
        if field != self.choices:
            return isinstance(value, str) and bool(value.strip())
        return isinstance(value, list) and bool(value) and all(map(str.strip, value))


def _as_trained(task: Any) -> Any:
    """Adds the key `whitespace` to a task that was written before there was one."""
    return {"whitespace": "keep", **task} if isinstance(task, Mapping) else task


# A task of a trained student: without `whitespace`, it was trained on fields as they are.
TrainedTask = Annotated[Task, BeforeValidator(_as_trained)]
