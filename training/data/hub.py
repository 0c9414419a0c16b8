"""Reads data sets of the Hugging Face hub, and folders that the package `datasets` can read."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from training.data.files import PlacedRow
from training.data.row import DataError
from training.student.files import StudentError
from training.student.hub import not_cached, why_not_on_hub

if TYPE_CHECKING:
    from datasets import Dataset


def read_hub(path: str, name: str | None, revision: str | None, split: str) -> Iterator[PlacedRow]:
    """Yields the rows of one split, counted from 1.

    `path` is a data set of the hub, a folder of files, or what `save_to_disk` wrote. `name` is a
    configuration of it. A class label is read as its name, and a missing one (-1) as None.
    Raises DataError.
    """
    from datasets import ClassLabel  # here, as the import takes a second

    data = _load(path, name, revision, split)
    classes = {
        column: feature
        for column, feature in data.features.items()
        if isinstance(feature, ClassLabel)
    }
    for number, row in enumerate(data, 1):
        for column, feature in classes.items():
            value = row[column]
            row[column] = None if value is None or value < 0 else feature.int2str(value)
        yield f"{path} ({split}), row {number}", row


def _load(path: str, name: str | None, revision: str | None, split: str) -> "Dataset":
    import datasets

    why = None
    if not Path(path).is_dir():
        try:
            why = why_not_on_hub(path, "dataset")
        except StudentError as error:
            raise DataError(str(error)) from error
    if why is not None:
        datasets.config.HF_HUB_OFFLINE = True  # else it asks the hub for half a minute
    try:
        if (Path(path) / "dataset_dict.json").is_file():
            saved = datasets.DatasetDict.load_from_disk(path)
        elif (Path(path) / "state.json").is_file():
            data = datasets.Dataset.load_from_disk(path)
            saved = {str(data.split or "train"): data}
        else:
            return datasets.load_dataset(path, name, split=split, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        if why is not None:
            raise DataError(not_cached(path, why, "data set")) from error
        # the cause tells what is wrong with a file
        reason = " ".join(f"{error} {error.__cause__ or ''}".split())
        raise DataError(f"{path} ({split}): `datasets` cannot load it: {reason}") from error
    if split not in saved:
        raise DataError(f"{path}: no split {split!r}; there is {', '.join(saved)}")
    return saved[split]
