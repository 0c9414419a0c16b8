"""The recipe of a distillation: a YAML file, with `key=value` overrides from the command line."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tasks.builtin import TASKS
from tasks.task import Fields, Task
from training.data.sources import AnySource
from training.defaults import FROM_SCRATCH, OPTIONS
from training.yaml_files import ConfigError, parse_text, read_yaml, validated

Fraction = Annotated[float, Field(ge=0, le=1)]

Objective = Literal["finetune", "dss", "mi-infonce", "mi-official", "mi-unsafe", "kl"]
DEFAULT_OBJECTIVE: Objective = "mi-infonce"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Scratch(_Section):
    """A T5 student from random weights, with a tokenizer trained on the training texts."""

    vocab_size: int = Field(
        gt=300, description="most tokens of the tokenizer: 256 bytes, 3 special tokens, and merges"
    )
    d_model: int = Field(gt=0, description="width of the model")
    d_kv: int = Field(gt=0, description="width of an attention head")
    d_ff: int = Field(gt=0, description="width of the feed-forward layers")
    num_layers: int = Field(gt=0, description="layers of the encoder")
    num_decoder_layers: int = Field(gt=0, description="layers of the decoder")
    num_heads: int = Field(gt=0, description="attention heads of a layer")
    dropout_rate: Fraction = Field(0.1, description="share of activations that training drops")
    feed_forward_proj: Literal["relu", "gated-gelu"] = Field(
        "relu", description="activation of the feed-forward layers"
    )


class ScratchModel(_Section):
    """A student from scratch."""

    scratch: Scratch = Field(description="geometry of the model")


def _kind_of_model(value: Any) -> str | None:
    if isinstance(value, str):
        return "a name"
    return "a geometry" if isinstance(value, dict | ScratchModel) else None


def _no_geometry(value: str) -> str:
    if value == "scratch":
        raise ValueError(
            "a student from scratch needs a geometry: write `scratch:` below `model:`, with "
            f"{', '.join(name for name, key in Scratch.model_fields.items() if key.is_required())}"
        )
    return value


AnyModel = Annotated[
    Annotated[str, Field(min_length=1), AfterValidator(_no_geometry), Tag("a name")]
    | Annotated[ScratchModel, Tag("a geometry")],
    Discriminator(
        _kind_of_model,
        custom_error_type="model",
        custom_error_message="expected the name or path of a T5, or `scratch:` with a geometry",
    ),
]


class DistillConfig(_Section):
    """All that decides what a student becomes. Token counts include the end token."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="name of the student"
    )
    task: Task = Field(description="the name of a built-in task, or a task of your own")
    data: AnySource = Field(description="where the rows come from, and which are used")
    model: AnyModel = Field(description="hub name or path of a T5, or `scratch:` with a geometry")
    trim_vocab: bool = Field(
        False, description="keep only the tokens of a pretrained model that the data can need"
    )
    dropout_rate: Fraction | None = Field(
        None, description="dropout of a pretrained model; null: the one it was trained with"
    )
    weights: Literal["fp32", "int8"] = Field(
        "fp32", description="int8: round the trained weights to 8 bits, and measure the result"
    )
    license: str = Field(min_length=1, description="licence of the student, as its data allows")
    examples: list[Fields] = Field(
        default=[], description="inputs that the bundle shows and checks itself with"
    )

    objective: Objective = Field(DEFAULT_OBJECTIVE, description="what training minimises")
    alpha: Fraction = Field(0.5, description="weight of the predict pass; explain has the rest")
    beta: float = Field(0.1, ge=0, description="weight of the objective's third term")
    # Options of some objectives. One that the objective does not know stays null. See OPTIONS.
    alpha_by_entropy: bool | None = Field(
        None, description="give each row its own alpha, by how sure the student is of the label"
    )
    cascade: bool | None = Field(
        None, description="end each rationale with its answer: `So the answer is 5.`"
    )
    beta_warmup_steps: Annotated[int, Field(ge=0)] | None = Field(
        None, description="steps in which beta rises from 0"
    )
    reduction: Literal["max", "mean"] | None = Field(
        None, description="how the distributions at a pass's target positions become one"
    )
    detach: Literal["predict", "explain", "none"] | None = Field(
        None, description="the pass that the third term does not train"
    )
    temperature: Annotated[float, Field(gt=0)] | None = Field(
        None, description="temperature of InfoNCE"
    )
    mask_same_label: bool | None = Field(
        None, description="rows with the same label are not each other's negatives"
    )

    steps: int = Field(10_000, gt=0, description="steps of the optimizer")
    batch_size: int = Field(
        64, gt=0, description="rows of a step, over all processes and accumulated batches"
    )
    batch_tokens: Annotated[int, Field(gt=0)] | None = Field(
        None, description="tokens of a step, inputs and targets; replaces batch_size"
    )
    gradient_accumulation_steps: int = Field(
        1, gt=0, description="parts of a step's rows that are computed one after the other"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="precision of training")
    learning_rate: float = Field(5e-5, gt=0, description="highest learning rate of AdamW")
    warmup_steps: int = Field(0, ge=0, description="steps in which the learning rate rises from 0")
    lr_scheduler: Literal["constant_with_warmup", "linear", "cosine"] = Field(
        "linear", description="how the learning rate changes after the warm-up"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of AdamW")
    eval_every: int = Field(250, gt=0, description="steps between two evaluations")
    early_stopping_patience: Annotated[int, Field(gt=0)] | None = Field(
        None, description="stop after this many evaluations without a better one"
    )
    average_last: Annotated[int, Field(gt=1)] | None = Field(
        None,
        description="average the weights of the last steps, this many; null: keep the best step",
    )
    report_to: Literal["none", "tensorboard", "trackio", "wandb"] = Field(
        "none", description="where the numbers of a run go, beside the terminal"
    )
    validation_rows: int = Field(gt=0, description="training rows that are held out")
    max_input_tokens: int = Field(1024, gt=1, description="most tokens of an input")
    max_label_tokens: int = Field(256, gt=1, description="most tokens of a label")
    max_rationale_tokens: int = Field(256, gt=1, description="most tokens of a rationale")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of all random numbers")
    output_dir: Path = Field(description="folder for the student, and for checkpoints until then")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_for_scratch(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        if _kind_of_model(recipe.get("model")) != "a geometry":
            return recipe
        return FROM_SCRATCH | recipe

    @model_validator(mode="before")
    @classmethod
    def _fill_in_options(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        objective = str(recipe.get("objective", DEFAULT_OBJECTIVE))
        defaults = {
            option: defaults[objective]
            for option, defaults in OPTIONS.items()
            if objective in defaults and recipe.get(option) is None
        }
        return recipe | defaults

    @field_validator(*OPTIONS)
    @classmethod
    def _option_belongs(cls, value: Any, info: ValidationInfo) -> Any:
        objective = info.data.get("objective")  # missing where it is wrong itself
        objectives = OPTIONS[str(info.field_name)]
        if value is not None and objective is not None and objective not in objectives:
            raise ValueError(f"no option of {objective}, but of {', '.join(objectives)}")
        return value

    @field_validator("objective", mode="before")
    @classmethod
    def _mi_is_unsafe(cls, value: Any) -> Any:
        if value == "mi":
            raise ValueError(
                "`mi` was found to teach students to write the label in place of the rationale; "
                f"take {DEFAULT_OBJECTIVE}, the default, or mi-unsafe for what `mi` was"
            )
        return value

    @field_validator("precision", mode="before")
    @classmethod
    def _no_fp16(cls, value: Any) -> Any:
        if value == "fp16":
            raise ValueError("T5's activations overflow in fp16; use bf16 or fp32")
        return value

    @field_validator("gradient_accumulation_steps")
    @classmethod
    def _can_accumulate(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("objective") == "mi-official":
            raise ValueError(
                "mi-official needs its batch in one piece, as its term counts padding, which "
                "differs from part to part; take 1 and a smaller batch_size, or another objective"
            )
        return value

    @field_validator("examples")
    @classmethod
    def _examples_fit(cls, examples: list[Fields], info: ValidationInfo) -> list[Fields]:
        if (task := info.data.get("task")) is not None:  # else it is wrong itself
            for example in examples:
                task.check_example(example)
        return examples

    @field_validator("trim_vocab")
    @classmethod
    def _there_is_a_vocabulary_to_trim(cls, value: bool, info: ValidationInfo) -> bool:
        if value and isinstance(info.data.get("model"), ScratchModel):
            raise ValueError("only of a pretrained model; set model.scratch.vocab_size instead")
        return value

    @field_validator("dropout_rate")
    @classmethod
    def _there_is_another_dropout_rate(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and isinstance(info.data.get("model"), ScratchModel):
            raise ValueError("only of a pretrained model; set model.scratch.dropout_rate instead")
        return value

    @field_validator("task", mode="before")
    @classmethod
    def _task_as_written(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in TASKS:
                raise ValueError(
                    f"no built-in task {value!r}; there are {', '.join(TASKS)}, "
                    "or write out name, fields and template"
                )
            return TASKS[value]
        if isinstance(value, dict) and value.get("examples"):
            raise ValueError("examples stand beside the task: write them as the key `examples`")
        return value


def load_config(recipe: Path, overrides: list[str] = []) -> DistillConfig:  # noqa: B006
    """Reads a recipe and lays `key=value` overrides over it; `a.b=1` sets `b` of `a`.

    Values are YAML. Raises ConfigError.
    """
    content = read_yaml(recipe)
    for override in overrides:
        _lay_over(content, override)
    overridden = [override.partition("=")[0] for override in overrides]
    return validated(DistillConfig, content, recipe, overridden)


def dump_config(config: DistillConfig) -> str:
    """The whole recipe, defaults included, as YAML that `load_config` reads as equal."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _lay_over(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"{override!r}: expected key=value, such as steps=500")
    value = parse_text(text, repr(override))
    *parents, last = key.split(".")
    place = content
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{override!r}: {parent} of the recipe has no keys below it")
    place[last] = value
