"""The `data:` section of a recipe: where the rows come from, and which of them are used."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.columns import Columns
from tasks.row_files import Format

Labels = Literal["gold", "teacher"]


class Filters(BaseModel):
    """What is left out of the training rows. Validation and test rows stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher_correct: Literal["row", "rationale"] | None = Field(
        None, description="drop the row, or only its rationales, if the teacher's label is wrong"
    )
    min_agreement: float | None = Field(
        None,
        gt=0,
        le=1,
        description="drop a row if a smaller share of the teacher's samples agrees on its label",
    )
    leaks: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="drop a rationale that contains one of these texts; case does not count"
    )
    max_per_label: int | None = Field(
        None, gt=0, description="keep at most this many rows of each label, drawn by the seed"
    )
    max_input_characters: int | None = Field(
        None, gt=0, description="drop a row if its input is longer"
    )
    max_rationale_characters: int | None = Field(
        None, gt=0, description="drop a rationale if it is longer"
    )
    duplicates: bool = Field(False, description="drop a row if an earlier row has the same input")


_COLUMNS = (
    "the column of a field, or of label, teacher_label or rationale, if its name is another. `a.b` "
    "is the value b of the object a. A list of columns makes a list of rationales, or of choices"
)

# Keys of older recipes, and what to write now.
_OLD_KEYS = {
    "extra": "is called train_only now",
    "swaps": "is no key any more; write the copies to a file for train_only, as by "
    "`python -m examples.word_problems.swaps`",
}


class Source(BaseModel):
    """The keys that all sources have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: Labels = Field(
        "gold",
        description="the labels to learn: the right ones, or the teacher's. Test labels are always "
        "the right ones",
    )
    max_rationales: int | None = Field(
        None, gt=0, description="use only the first rationales of a row, at most this many"
    )
    filters: Filters = Field(Filters(), description="what to leave out of the training rows")
    group_by: str | None = Field(
        None,
        description="a template over the task's fields. Rows with the same rendered text stay in "
        "one split; numbers, case and spaces do not count. Without it, rows with the same input do",
    )
    group_test: bool = Field(
        False,
        description="put training and test rows together, and draw as many test rows again, by "
        "groups",
    )
    train_only: Path | None = Field(
        None,
        description="a file of JSON lines: labelled rows that are only trained on, never held out. "
        "A row is dropped if its group has validation or test rows",
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
    """The unpacked archive of Distilling Step-by-Step.

    Its files name the splits train, valid and test.
    """

    format: Literal["dss"] = Field(description="the archive of Distilling Step-by-Step")
    path: Path = Field(description="folder of the archive")
    train: str = Field("train", description="name of the split to train on")
    validation: str | None = Field(
        None, description="name of the validation split; without it, training rows are held out"
    )
    test: str | None = Field("test", description="name of the test split")
    rationales: Literal["teacher", "human"] = Field(
        "teacher", description="whose rationales to learn: the big model's, or people's"
    )

    @model_validator(mode="after")
    def _check_rationales(self) -> Self:
        if self.rationales == "human" and self.filters.teacher_correct == "rationale":
            raise ValueError("filters.teacher_correct: human rationales are not the teacher's")
        return self


class FilesSource(Source):
    """Files of your own: JSON lines, CSV with a header, or Parquet."""

    format: Format = Field(description="files of your own")
    train: Path = Field(description="file of the rows to train on")
    validation: Path | None = Field(
        None, description="file of the validation rows; without it, training rows are held out"
    )
    test: Path | None = Field(None, description="file of the test rows")
    columns: Columns = Field({}, description=_COLUMNS)


class HubSource(Source):
    """A data set of the Hugging Face hub, or a folder that the package `datasets` reads."""

    format: Literal["hub"] = Field(
        description="a data set of the Hugging Face hub, or a folder that `datasets` reads"
    )
    path: str = Field(description="name of the data set, or folder")
    name: str | None = Field(
        None, description="name of a configuration, if the data set has several"
    )
    revision: str | None = Field(None, description="branch, tag or commit of the data set")
    train: str = Field("train", description="name of the split to train on")
    validation: str | None = Field(
        None, description="name of the validation split; without it, training rows are held out"
    )
    test: str | None = Field(None, description="name of the test split")
    columns: Columns = Field({}, description=_COLUMNS)


AnySource = Annotated[DssSource | FilesSource | HubSource, Field(discriminator="format")]


def columns_of(source: AnySource) -> Columns:
    """The source's map of columns, by which other rows in the same form can be read."""
    return {} if isinstance(source, DssSource) else source.columns
