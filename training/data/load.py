"""Loads the rows of a recipe's source, whatever its format."""

from typing import Any, Literal

from tasks.task import Task
from training.data.dss import load_dss
from training.data.files import read_rows
from training.data.hub import read_hub
from training.data.load_report import LoadReport
from training.data.row import DataError, Row
from training.data.row_reader import RowReader
from training.data.sources import AnySource, DssSource, FilesSource, HubSource


def load_rows(
    source: AnySource,
    task: Task,
    split: Literal["train", "validation", "test"] = "train",
    *,
    labelled: bool = True,
) -> tuple[list[Row], LoadReport]:
    """The rows of one split of a source, and a report of what was read and dropped.

    With `labelled`, each row needs a column for its label; a row whose label is null is dropped. A
    row without a rationale trains the predict pass only. Raises DataError, which names the file and
    line of a wrong row.
    """
    where = getattr(source, split)
    if isinstance(source, DssSource):
        # only training rows need the teacher
        rows, report = load_dss(source, task, where, completions=split == "train")
    else:
        rows, report = _load_mapped(source, task, where, labelled=labelled)
    if not rows:
        raise DataError(f"{report}: no row can be used")
    return rows, report


def _load_mapped(
    source: FilesSource | HubSource, task: Task, where: Any, *, labelled: bool
) -> tuple[list[Row], LoadReport]:
    if isinstance(source, HubSource):
        placed = read_hub(source.path, source.name, source.revision, where)
        report = LoadReport(f"{source.path} ({where})")
    else:
        placed = read_rows(where, source.format)
        report = LoadReport(str(where))
    reader = RowReader(task, source.columns)
    rows, seen = [], set[str]()
    for place, values in placed:
        report.read += 1
        seen |= values.keys()
        row = reader.read(place, values, labelled=labelled)
        if labelled and row.label is None:
            report.drop("row whose label is null", place)
            continue
        report.without_rationale += not row.rationales
        if row.label_given:
            report.note("rationale of a label that the teacher was told", place)
        rows.append(row)
    for name, column in reader.mapped:
        if rows and column not in seen and column.split(".")[0] not in seen:
            raise DataError(
                f"{report.source}: no row has the column {column!r} of data.columns.{name}; "
                f"there is {', '.join(sorted(seen))}"
            )
    return rows, report
