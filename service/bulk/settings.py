"""Settings of a bulk job: each one is a command line flag and an environment variable DUET_…"""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, CliImplicitFlag, NoDecode

from service.settings import (
    EMBEDDED_STUDENT,
    SOURCES,
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

    To resume a job that was stopped, even by kill -9, give the same command again. Exit code 0:
    every row was answered. 1: some rows were not; their records say why. 2: the job could not go
    on.
    """

    model_config = SOURCES

    input: Path = Field(description="file of rows: *.jsonl, *.csv or *.parquet")
    output: Path = Field(description="folder for the shards, part-00000.jsonl and so on")
    model: Path = Field(EMBEDDED_STUDENT, description="the bundle that answers")
    explain: CliImplicitFlag[bool] = Field(False, description="whether to write rationales too")
    columns: Names = Field(
        [],
        description="FIELD=COLUMN, separated by commas, for fields whose columns have other names; "
        "the column a.b is the value b of the object a",
    )
    keep: Names = Field(
        [], description="columns, separated by commas, that each record repeats under `row`"
    )
    top_k: int | None = Field(
        None, ge=1, description="write only this many of the best scores; without it, all"
    )
    max_rationale_tokens: int | None = Field(
        None, ge=1, description="tokens after which a rationale is cut"
    )
    truncate: CliImplicitFlag[bool] = Field(
        False, description="whether to cut the end of an input with too many tokens"
    )
    shard_rows: int = Field(
        1000,
        ge=1,
        description="rows of a shard; a stopped job loses the answers of the current shard",
    )
    force: CliImplicitFlag[bool] = Field(
        False, description="whether to remove the shards of another job from the folder"
    )
    device: DeviceSetting = "auto"
    threads: ThreadsSetting = available_cores()
    max_rows: MaxRowsSetting = 32
    speculate: SpeculateSetting = True
    ray: CliImplicitFlag[bool] = Field(
        False,
        description="whether to use a Ray cluster: that of RAY_ADDRESS, or a new one on this "
        "machine. Every node must reach input, output and model by the same paths",
    )
    ray_gpus: float = Field(
        0.0, ge=0, description="GPUs of each engine on the cluster; may be a part of one"
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
        """The column of each field that `columns` names."""
        return {field: name for field, _, name in (c.partition("=") for c in self.columns)}
