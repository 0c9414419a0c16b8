"""Where a recipe's data come from, and how rows become what is learnt: its `data:` section."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.columns import Columns
from tasks.row_files import Format


class Filters(BaseModel):
    """What is left out of the training rows; validation and test rows stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher_correct: Literal["row", "rationale"] | None = Field(
        None, description="where the teacher's label is wrong: drop the row, or its rationales"
    )
    min_agreement: float | None = Field(
        None, gt=0, le=1, description="drop rows of which fewer of the teacher's samples agree"
    )
    leaks: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="drop rationales that hold one of these texts, such as a prompt's own"
    )
    max_per_label: int | None = Field(
        None, gt=0, description="of a label with more rows, so many are drawn"
    )
    max_input_characters: int | None = Field(None, gt=0, description="drop longer rows")
    max_rationale_characters: int | None = Field(None, gt=0, description="drop longer rationales")
    duplicates: bool = Field(False, description="drop rows whose input was there before")


# Keys of older recipes, and what to write now.
_OLD_KEYS = {
    "extra": "is called train_only now",
    "swaps": "is no key any more; write the copies to a file for train_only, as by "
    "`python -m examples.word_problems.swaps`",
}


class Source(BaseModel):
    """What all sources have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: Literal["gold", "teacher"] = Field("gold", description="test labels are always gold")
    max_rationales: int | None = Field(None, gt=0, description="of a row: the first ones")
    filters: Filters = Filters()
    group_by: str | None = Field(
        None,
        description="a template over the task's fields: rows that it makes the same text of, "
        "numbers, case and spaces apart, stay in one split. Without it, the same inputs do",
    )
    group_test: bool = Field(
        False, description="draw as many test rows anew, by groups, from training and test rows"
    )
    train_only: Path | None = Field(
        None,
        description="JSON lines of labelled rows that are only trained on, beside the others: less "
        "those of a group with validation or test rows",
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_keys(cls, content: Any) -> Any:
        for key in _OLD_KEYS.keys() & content if isinstance(content, dict) else ():
            raise ValueError(f"{key} {_OLD_KEYS[key]}")
        return content

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        validation, test = (getattr(self, name, None) for name in ("validation", "test"))
        if self.group_test and test is None:
            raise ValueError("group_test: there are no test rows; name some under `test`")
        if validation is not None and (self.group_by or self.group_test):
            raise ValueError("validation: group_by draws validation rows itself; leave it out")
        return self


class DssSource(Source):
    """The folder layout of Distilling Step-by-Step's archive, once unpacked.

    Splits are called as in its files' names: train, valid, test.
    """

    format: Literal["dss"]
    path: Path
    train: str = "train"
    validation: str | None = None
    test: str | None = "test"
    rationales: Literal["teacher", "human"] = "teacher"

    @model_validator(mode="after")
    def _check_rationales(self) -> Self:
        if self.rationales == "human" and self.filters.teacher_correct == "rationale":
            raise ValueError("filters.teacher_correct: human rationales are not the teacher's")
        return self


class FilesSource(Source):
    """One's own files: JSON lines, CSV with a header, or Parquet."""

    format: Format
    train: Path
    validation: Path | None = None
    test: Path | None = None
    columns: Columns = Field(
        {},
        description="the column of each field, and of label, teacher_label and rationale, where "
        "it has another name; several columns make a list of rationales, or of choices",
    )


class HubSource(Source):
    """A data set of the Hugging Face hub, or a folder that `datasets` can read."""

    format: Literal["hub"]
    path: str
    name: str | None = Field(None, description="of several configurations of the data set")
    revision: str | None = None
    train: str = "train"
    validation: str | None = None
    test: str | None = None
    columns: Columns = Field({}, description="as for files; `a.b` is the column b of a")


AnySource = Annotated[DssSource | FilesSource | HubSource, Field(discriminator="format")]
