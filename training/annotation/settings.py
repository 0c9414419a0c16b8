"""Settings of the teacher: each one is a flag of the command line."""

import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliImplicitFlag,
    CliVariadicArg,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from tasks.builtin import TASKS
from tasks.problems import in_words


def _known_task(name: str | None) -> str | None:
    if name is not None and name not in TASKS:
        raise ValueError(f"expected one of {', '.join(TASKS)}")
    return name


def _json_lines(path: Path) -> Path:
    if path.suffix != ".jsonl":
        raise ValueError("expected a file named *.jsonl")
    return path


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port that is no number, too
        valid = False
    if not valid:
        raise ValueError("expected an address such as http://127.0.0.1:8000/v1")
    return text


def _overrides(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        content = json.loads(value)
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError("expected a JSON object")
    if taken := {"model", "messages", "n", "stream"} & content.keys():
        raise ValueError(f"leave {', '.join(sorted(taken))} out: the teacher sets these")
    return content


def _separate(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _two_prices(prices: list[float]) -> list[float]:
    if prices and (len(prices) != 2 or not all(0 <= price < math.inf for price in prices)):
        raise ValueError("expected two numbers that are not below 0")
    return prices


Flag = CliImplicitFlag[bool]


class TeacherSettings(BaseSettings):
    """Asks a big model for the rationale and the label of each row: the data that distil reads.

    Any endpoint with OpenAI's chat completions will do. The environment variables OPENAI_BASE_URL,
    OPENAI_API_KEY and OPENAI_MODEL give its address, its key and the model. Flags replace the
    address and the model. Beside OUT.jsonl stand OUT.answers.sqlite, which keeps every answer,
    OUT.failed.jsonl and the report, OUT.report.md. To continue after a stop, give the same command
    again: no question is asked twice.

    Ends with 0 where every row has its result, 1 where some were not answered or the budget was
    spent, and 2 where it could not go on.
    """

    model_config = SettingsConfigDict(
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_exit_on_error=False,
    )

    data: Path = Field(description="rows: *.jsonl, *.csv or *.parquet")
    task: Annotated[str | None, AfterValidator(_known_task)] = Field(
        None, description=f"a built-in task: {', '.join(TASKS)}"
    )
    recipe: Path | None = Field(
        None, description="a recipe whose `task` and `data.columns` are used, in place of --task"
    )
    out: Annotated[Path, AfterValidator(_json_lines)] = Field(
        description="the annotated rows, *.jsonl"
    )
    limit: int | None = Field(None, gt=0, description="take only this many rows, from the first")
    retry_failed: Flag = Field(False, description="also ask again about the rows that failed")
    dry_run: Flag = Field(False, description="print the whole body of each request; send nothing")

    base_url: Annotated[str, AfterValidator(_url)] | None = Field(
        None,
        description="the endpoint's address, without /chat/completions; in place of "
        "OPENAI_BASE_URL (default: OpenAI's own)",
    )
    model: str = Field("", description="the model's name at the endpoint; in place of OPENAI_MODEL")
    prompt: Path | None = Field(None, description="a prompt, *.yaml, in place of the task's own")
    given_label: Flag = Field(
        False, description="tell the teacher the label, ask for its rationale alone, and mark OUT"
    )
    samples: int = Field(1, gt=0, description="answers for each row; they vote on the label")
    temperature: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="default: 0, or 0.7 for several samples"
    )
    max_tokens: int = Field(512, gt=0, description="the most tokens of an answer")
    as_json: Flag = Field(
        False,
        validation_alias="json",
        description="ask for JSON by a schema, if the endpoint supports it",
    )
    body: Annotated[dict[str, Any], NoDecode, BeforeValidator(_overrides)] = Field(
        {}, description="a JSON object whose keys replace those of each body; null removes a key"
    )

    concurrency: int = Field(8, gt=0, description="requests at a time")
    requests_per_minute: float | None = Field(None, gt=0, allow_inf_nan=False)
    tokens_per_minute: float | None = Field(None, gt=0, allow_inf_nan=False)
    timeout: float = Field(120, gt=0, allow_inf_nan=False, description="seconds for a request")
    tries: int = Field(8, gt=0, description="tries of a request that fails by a 5xx or broken JSON")
    prices: CliVariadicArg[
        Annotated[list[float], NoDecode, BeforeValidator(_separate), AfterValidator(_two_prices)]
    ] = Field([], description="of a million input tokens and a million output tokens, in any money")
    budget: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="the most that OUT's answers may cost"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line alone: variables such as DATA or MODEL are not for the teacher."""
        return (init_settings,)

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, values: dict[str, Any]) -> dict[str, Any]:
        named = {"base_url": "OPENAI_BASE_URL", "model": "OPENAI_MODEL"}
        return {name: text for name, v in named.items() if (text := os.environ.get(v))} | values

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not self.model:
            raise ValueError("--model: name the teacher, here or in OPENAI_MODEL")
        if (self.task is None) == (self.recipe is None):
            raise ValueError("--task: expected one of --task and --recipe")
        written = (self.out, self.failed, self.answers, self.old_answers)
        if self.data.resolve() in (path.resolve() for path in written):
            raise ValueError(
                "--data: would be written over; choose another --out (--retry-failed asks about "
                "the rows that failed)"
            )
        if self.budget is not None and not self.prices:
            raise ValueError("--budget: needs --prices")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("--samples: at temperature 0, all samples are the same")
        if self.temperature is None:
            self.temperature = 0.0 if self.samples == 1 else 0.7
        key = self.key or ""
        if not key.isascii() or not key.isprintable():
            raise ValueError("OPENAI_API_KEY: expected characters that a header can hold")
        return self

    @property
    def key(self) -> str | None:
        """The endpoint's key. It is no flag, because other users see the flags of a process."""
        return os.environ.get("OPENAI_API_KEY", "").strip() or None

    @property
    def answers(self) -> Path:
        return self.out.with_suffix(".answers.sqlite")

    @property
    def old_answers(self) -> Path:
        return self.out.with_suffix(".answers.jsonl")

    @property
    def failed(self) -> Path:
        return self.out.with_suffix(".failed.jsonl")


def problem_of(error: ValidationError) -> str:
    """The first thing that is wrong with settings, in one line, with its flag."""
    problem = error.errors()[0]
    message = in_words(problem)
    if not problem["loc"]:
        return message
    name = str(problem["loc"][0])
    own = problem["type"] in ("missing", "value_error")  # these say what is needed
    got = "" if own else f", got {problem['input']!r}"
    return f"--{name.replace('_', '-')}: {message}{got}"
