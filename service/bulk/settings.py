"""Settings of a bulk job: each one is a command line flag and an environment variable DUET_…"""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, CliImplicitFlag, NoDecode, SettingsConfigDict

from service.settings import (
    EMBEDDED_STUDENT,
    DeviceSetting,
    MaxRowsSetting,
    SpeculateSetting,
    ThreadsSetting,
    available_cores,
    split,
)

Names = Annotated[list[str], NoDecode, BeforeValidator(split)]


class BulkSettings(BaseSettings):
    """Answers every row of a file, and writes the answers in shards of JSON lines.

    A job that was stopped, even by kill -9, goes on where it was when the same command is given
    again. Ends with 0 where every row was answered, 1 where some could not be (their records tell
    why), and 2 where the job could not go on.
    """

    model_config = SettingsConfigDict(
        env_prefix="DUET_",
        cli_prog_name="python -m service.bulk",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_show_env_vars=True,
        cli_hide_none_type=True,
        frozen=True,
    )

    input: Path = Field(description="file of rows: *.jsonl, *.csv or *.parquet")
    output: Path = Field(description="folder for the shards, part-00000.jsonl and so on")
    model: Path = Field(EMBEDDED_STUDENT, description="the bundle that answers")
    explain: CliImplicitFlag[bool] = Field(False, description="whether to write rationales too")
    columns: Names = Field(
        [],
        description="FIELD=COLUMN, for fields of the task whose columns have other names, "
        "separated by commas",
    )
    keep: Names = Field(
        [], description="columns that each record repeats, as `row`, separated by commas"
    )
    top_k: int | None = Field(
        None, ge=1, description="how many scores to write, the best ones; without it, all"
    )
    max_rationale_tokens: int | None = Field(
        None, ge=1, description="tokens after which a rationale is cut"
    )
    truncate: CliImplicitFlag[bool] = Field(
        False, description="whether to cut the end of an input that has too many tokens"
    )
    shard_rows: int = Field(
        1000,
        ge=1,
        description="rows of a shard; a job that is stopped loses those of the shard in work",
    )
    force: CliImplicitFlag[bool] = Field(
        False, description="whether to drop the shards of another job that the folder holds"
    )
    device: DeviceSetting = "auto"
    threads: ThreadsSetting = available_cores()
    max_rows: MaxRowsSetting = 32
    speculate: SpeculateSetting = True
    ray: CliImplicitFlag[bool] = Field(
        False,
        description="whether to work on the cluster that RAY_ADDRESS names, or one started here; "
        "input, output and model must be paths that all its nodes know",
    )
    ray_gpus: float = Field(
        0.0, ge=0, description="GPUs, or a part of one, that each engine on the cluster takes"
    )

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: list[str]) -> list[str]:
        for column in columns:
            field, sign, name = column.partition("=")
            if not (field and sign and name):
                raise ValueError("expected FIELD=COLUMN")
        return columns

    @property
    def column_of(self) -> dict[str, str]:
        """By field of the task."""
        return {field: name for field, _, name in (c.partition("=") for c in self.columns)}
