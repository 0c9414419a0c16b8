"""The rows that a model is evaluated on, from a recipe's split or from a file."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tasks.columns import Columns, MissingColumn
from tasks.task import Fields, Task
from training.config import DistillConfig
from training.data.files import read_rows
from training.data.load_report import LoadReport
from training.data.row import DataError, Row
from training.data.row_reader import RowReader
from training.data.splits import Key, Split, group_key, load_splits
from training.student.files import Example

log = logging.getLogger("duet.evaluation")

WARNING = "warning"  # the fact of `Data.identity` that some rows are training rows, too


@dataclass(frozen=True)
class LabelledRow:
    """A row that a model is asked about. `place` names it in messages. `Record` has the rest."""

    index: int
    place: str
    input: Fields
    text: str
    gold: str
    reference: str | None
    cluster: str


@dataclass(frozen=True)
class Data:
    """Rows that can be read several times. The rows of a file are not kept in memory."""

    source: str
    read: Callable[[], Iterable[LabelledRow]]
    count: int
    fingerprint: str  # SHA-256 of all rows
    warning: str | None = None  # of rows that are training rows, too

    @property
    def identity(self) -> dict[str, str]:
        facts = {"source": self.source, "rows": str(self.count), "sha256": self.fingerprint}
        return facts if self.warning is None else facts | {WARNING: self.warning}


def from_file(path: Path, task: Task, columns: Columns | None = None) -> Data:
    """The rows of a JSON lines, CSV or Parquet file, in the form that training reads.

    `columns` is a recipe's map of columns; None: there is no recipe. Checks all rows first. Leaves
    out rows whose label is null. Raises DataError.
    """
    reader = RowReader(task, columns or {})

    def read(report: LoadReport | None = None) -> Iterator[LabelledRow]:
        for index, (place, values) in enumerate(read_rows(path)):
            row = reader.read(place, values, labelled=True)
            if row.label is not None:
                reference = row.rationales[0] if row.rationales else None
                yield _row(task, index, row, row.label, reference, str(index))
            elif report is not None:
                report.drop("row whose label is null", place)

    report = LoadReport(str(path))
    try:
        data = _looked_through(str(path), lambda: read(report), read)
    except DataError as error:
        if columns is None and isinstance(error.__cause__, MissingColumn):
            raise DataError(f"{error}: --recipe RECIPE.yaml") from error
        raise
    if report.dropped:
        log.info("%s", report)
    return data


def from_recipe(config: DistillConfig, split: Split, task: Task) -> Data:
    """The recipe's validation or test rows.

    `task` is the model's task, which renders the rows. It may differ from the recipe's only in its
    name and template. Rows that `group_by` keeps together are one cluster. Raises DataError.
    """
    for name in ("fields", "labels", "answer"):
        ours, theirs = getattr(config.task, name), getattr(task, name)
        if ours != theirs:
            raise DataError(f"task.{name}: {ours!r} in the recipe, but {theirs!r} to the model")
    splits = load_splits(config)
    examples = splits.test if split == "test" else splits.validation
    if not examples:
        raise DataError("data.test: the recipe names no test rows")
    rows = labelled_examples(examples, task, split, group_of(config))
    data = _looked_through(f"{config.name} ({split})", lambda: rows, lambda: rows)
    return replace(data, warning=splits.trained_on.get(split))


def group_of(config: DistillConfig) -> Key | None:
    """What rows share that the recipe's `group_by` keeps together; None if it has none."""
    grouped = config.data.group_by is not None
    return group_key(config.task, config.data.group_by) if grouped else None


def labelled_examples(
    examples: Iterable[Example], task: Task, split: Split, key: Key | None = None
) -> list[LabelledRow]:
    """The examples of a split as rows. Those with the same `key` are one cluster.

    Raises DataError where the task's template fails on a row.
    """
    rows = []
    for index, example in enumerate(examples):
        row = Row(f"{split} row {index}", example.input, example.label)
        cluster = str(index) if key is None else key(row)
        rows.append(_row(task, index, row, example.label, example.rationale, cluster))
    return rows


def _row(
    task: Task, index: int, row: Row, gold: str, reference: str | None, cluster: str
) -> LabelledRow:
    try:
        text = task.render(row.input)
    except Exception as error:  # a template is data: it may raise whatever it likes
        raise DataError(f"{row.place}: the model's template fails: {error}") from error
    return LabelledRow(index, row.place, row.input, text, gold, reference, cluster)


def _looked_through(
    source: str,
    first: Callable[[], Iterable[LabelledRow]],
    read: Callable[[], Iterable[LabelledRow]],
) -> Data:
    count, digest = 0, hashlib.sha256()
    for row in first():
        count += 1
        content = asdict(row)
        del content["place"]  # the same rows in another file have the same fingerprint
        digest.update(json.dumps(content, sort_keys=True).encode())
    if not count:
        raise DataError(f"{source}: no row can be used")
    return Data(source, read, count, digest.hexdigest())
