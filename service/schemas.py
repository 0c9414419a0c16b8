"""The JSON of requests and answers."""

import reprlib
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from export.bundle import Limits, Provenance
from export.verify import Bundle
from service.engine.prediction import Prediction, Score, Usage
from service.errors import InvalidInput
from tasks.fields import flaw_of, kind_of
from tasks.task import Fields, Task

EXAMPLE = "A baker fills 6 trays with 12 rolls each and sells 40. How many rolls are left?"


def check_inputs(inputs: Any) -> Any:
    """Returns one input or a list of inputs unchanged. Raises InvalidInput at the first fault.

    Pydantic would make a long list of errors for a long list of wrong inputs.
    """
    if not isinstance(inputs, list):
        check_input("inputs", inputs)
    elif not inputs:
        raise InvalidInput("inputs: the list is empty, and at least one input is needed")
    else:
        for i, item in enumerate(inputs):
            check_input(f"inputs[{i}]", item)
    return inputs


def check_input(place: str, item: Any) -> None:
    """Raises InvalidInput if `item` is not an input. The message names the place."""
    if isinstance(item, dict):
        for field, value in item.items():
            within = f"{place}[{reprlib.repr(field)}]"
            if isinstance(value, list):
                for i, text in enumerate(value):
                    _check_text(f"{within}[{i}]", text, "a string")
            else:
                _check_text(within, value, "a string or a list of strings")
    else:
        _check_text(place, item, "a string or an object with the task's fields")


def _check_text(place: str, text: Any, expected: str) -> None:
    if not isinstance(text, str):
        raise InvalidInput(f"{place}: expected {expected}, got {kind_of(text)}")
    if flaw := flaw_of(text):
        raise InvalidInput(f"{place}: expected text, got {flaw} in it")


# For OpenAPI, the texts that `_check_text` and the engine accept: not blank, and without NUL.
TEXT_PATTERN = r"^[^\u0000]*[^\s\u0000-\u0020\u0085][^\u0000]*$"
Text = Annotated[str, Field(json_schema_extra={"pattern": TEXT_PATTERN})]
Input = (
    Text | Annotated[dict[str, Text | list[Text]], Field(json_schema_extra={"minProperties": 1})]
)
Inputs = Annotated[list[Input], Field(json_schema_extra={"minItems": 1})]


class PredictBody(BaseModel):
    """A request for predictions."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"inputs": EXAMPLE, "explain": True}]}
    )

    inputs: Annotated[Input | Inputs, BeforeValidator(check_inputs)] = Field(
        description="one input, or a list of them. An input is an object with the fields of the "
        "model's task (see /models), or a string if the task has one field"
    )
    model: str | None = Field(None, description="name of a model; without it, the default one")
    explain: StrictBool = Field(
        False,
        description="whether to answer with a rationale too; refused by a model that gives labels "
        "only (see /models)",
    )
    top_k: StrictInt | None = Field(
        None,
        ge=1,
        description="how many of the best scores to return; without it, the scores of all labels. "
        "A label that is decoded freely has one score",
    )
    max_rationale_tokens: StrictInt | None = Field(
        None,
        ge=1,
        description="tokens after which a rationale is cut, with its end token. The model's limit "
        "(see /models) is the maximum and the default",
    )
    truncate: StrictBool = Field(
        False, description="whether to cut the end of an input that has too many tokens"
    )
    stream: StrictBool = Field(
        False, description="whether to answer with server-sent events; only for a single input"
    )

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, body: Any) -> Any:
        """Raises InvalidInput at the first unknown key."""
        for key in body if isinstance(body, dict) else ():
            if key not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise InvalidInput(f"{reprlib.repr(key)}: unknown; a request holds {known}")
        return body


class LabelAnswer(BaseModel):
    """A label, and how sure it is."""

    label: str = Field(examples=["( 84.0 / 2.0 )"])
    confidence: float = Field(description="calibrated probability of the label", examples=[0.93])
    answer: float | None = Field(
        default=None,
        description="value of the label, if the task's labels are equations; null if the label has "
        "no value",
        examples=[42.0],
    )
    scores: list[Score] = Field(description="confidence in each label (see top_k), the best first")

    @classmethod
    def of(cls, prediction: Prediction) -> Self:
        """The answer for a prediction.

        `answer` is set only if the task has one, and `rationale` only if it was asked for.
        """
        return cls(**cls._facts(prediction))

    @classmethod
    def _facts(cls, prediction: Prediction) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "label": prediction.label,
            "confidence": prediction.confidence,
            "scores": list(prediction.scores),
        }
        if prediction.model.task.answer is not None:
            facts["answer"] = prediction.answer
        return facts


class PredictAnswer(LabelAnswer):
    """The whole answer to one input. Token counts include the end tokens."""

    rationale: str = Field(
        default="", description="why; only if the request asks to explain", examples=["84 / 2 = 42"]
    )
    decoder_passes: int = Field(description="1 for the label, 2 with its rationale")
    model: str
    version: str
    usage: Usage

    @classmethod
    def _facts(cls, prediction: Prediction) -> dict[str, Any]:
        facts = super()._facts(prediction) | {
            "decoder_passes": prediction.decoder_passes,
            "model": prediction.model.name,
            "version": prediction.model.version,
            "usage": prediction.usage,
        }
        if prediction.rationale is not None:
            facts["rationale"] = prediction.rationale
        return facts


class RationalePiece(BaseModel):
    """A part of a rationale; all parts together are the rationale."""

    text: str


class ModelInfo(BaseModel):
    """A loaded model, as its bundle describes it."""

    name: str
    version: str
    checksum: str = Field(
        description="SHA-256 of the bundle's manifest, which has the SHA-256 of every file"
    )
    default: bool = Field(description="whether this model answers requests that name no model")
    task: Task
    precision: str
    limits: Limits
    explains: bool = Field(
        description="whether the model gives rationales; if not, a request to explain is refused"
    )
    metrics: dict[str, dict[str, float | int | str]]
    provenance: Provenance
    license: str
    form: Fields = Field(description="what an input looks like")
    examples: list[Fields] = Field(description="inputs to try")

    @classmethod
    def of(cls, bundle: Bundle, *, default: bool) -> Self:
        return cls(
            **bundle.manifest.model_dump(include=set(cls.model_fields)),
            default=default,
            form=bundle.manifest.task.form(),
            examples=[golden.fields for golden in bundle.golden],
        )


class ServiceInfo(BaseModel):
    """The service's version, its models and its limits."""

    version: str
    default_model: str
    models: list[str]
    max_client_batch: int
    max_body_bytes: int
    max_rows: int
    max_queue: int
    timeout: float
    threads: int


class Health(BaseModel):
    status: Literal["ok"] = "ok"
