"""Tasks: what an input is, how it reads as text, and when an answer is right."""

import math
from functools import lru_cache
from itertools import chain
from typing import Annotated, Literal, Self

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from arithmetic.equations import evaluate_equation
from arithmetic.masking import Codec, Numbers, check_maskable, codec_of

_TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined)

MAX_LABELS = 1000  # of a closed set

Label = Annotated[str, StringConstraints(pattern=r"\S")]
Fields = dict[str, str | list[str]]  # an input: texts, and lists of labels to choose from


def texts_in(fields: Fields) -> list[str]:
    """Every text of an input, those in lists included."""
    values = ([value] if isinstance(value, str) else value for value in fields.values())
    return list(chain.from_iterable(values))


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    return _TEMPLATES.from_string(template)


def render_template(template: str, fields: Fields) -> str:
    """Renders a sandboxed Jinja2 template over an input's fields, their texts stripped.

    A template is data: it may raise whatever it likes.
    """
    stripped = {
        name: value.strip() if isinstance(value, str) else [text.strip() for text in value]
        for name, value in fields.items()
    }
    return _compiled(template).render(stripped)


class LabelField(BaseModel):
    """Each input brings its own labels, as a list in one of its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    field: str


class Task(BaseModel):
    """A task, as data: the service reads the same facts from a bundle's manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    fields: list[str] = Field(min_length=1)
    template: str
    predict_prefix: str = "predict: "
    explain_prefix: str = "explain: "
    labels: Literal["open"] | Annotated[list[Label], Field(max_length=MAX_LABELS)] | LabelField = (
        Field("open", description="open: decoded freely; a list, or a field that holds the list")
    )
    answer: Literal["arithmetic"] | None = None
    numbers: Numbers | None = Field(
        None, description="masked, counted: the input's numbers are n0, n1, … to the student"
    )
    explain_given_label: bool = Field(
        False,
        description="the rationale is written after its label, which it then explains, as in "
        "PredictAndExplain (Camburu et al., 2018); else beside it, from the input alone",
    )

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.choices is not None and self.choices not in self.fields:
            raise ValueError(f"labels: {self.choices!r} is none of the task's fields")
        if isinstance(self.labels, list) and len(set(self.labels)) != max(1, len(self.labels)):
            raise ValueError("labels: expected at least one label, and none of them twice")
        check_maskable(self.numbers, self.labels)
        return self

    @model_validator(mode="after")
    def _template_renders(self) -> Self:
        try:
            self.render(
                {name: ["text"] if name == self.choices else "text" for name in self.fields}
            )
        except Exception as error:  # a template is data: it may raise whatever it likes
            raise ValueError(f"the template fails on {', '.join(self.fields)}: {error}") from error
        return self

    @property
    def choices(self) -> str | None:
        """The field that holds an input's labels, where one does."""
        return self.labels.field if isinstance(self.labels, LabelField) else None

    @property
    def texts(self) -> list[str]:
        """The fields that hold a text."""
        return [name for name in self.fields if name != self.choices]

    def labels_of(self, fields: Fields) -> list[str] | None:
        """What the label of an input is one of; None where it is open."""
        if isinstance(self.labels, list):
            return self.labels
        return None if self.choices is None else [label.strip() for label in fields[self.choices]]

    def render(self, fields: Fields) -> str:
        """The input as one text, without a prefix."""
        return render_template(self.template, fields)

    def codec(self, text: str) -> Codec:
        """Between an input, as it is rendered, with its texts, and what the student reads."""
        return codec_of(self.numbers, text)

    def is_right(self, prediction: str, label: str) -> bool:
        """Whether a predicted label is right: for arithmetic, whether its value is."""
        if self.answer == "arithmetic":
            value, expected = evaluate_equation(prediction), evaluate_equation(label)
            if value is not None and expected is not None:
                return math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-6)
        return prediction.strip() == label.strip()


NLI_LABELS = ["entailment", "neutral", "contradiction"]

TASKS = {
    task.name: task
    for task in (
        Task(
            name="esnli",
            fields=["premise", "hypothesis"],
            template="{{premise}}</s>{{hypothesis}}",  # T5's end token between them
            labels=NLI_LABELS,
        ),
        Task(
            name="anli1",
            fields=["premise", "hypothesis"],
            template="{{premise}}</s>{{hypothesis}}",
            labels=NLI_LABELS,
        ),
        Task(
            name="cqa",
            fields=["question", "choices"],
            # letters by their codes, so that no number of choices is too many
            template="{{question}}\nAnswer Choices:{% for choice in choices %}\n"
            "({{ '%c' | format(97 + loop.index0) }}) {{choice}}{% endfor %}",
            labels=LabelField(field="choices"),
        ),
        Task(name="svamp", fields=["text"], template="{{text}}", answer="arithmetic"),
    )
}
