"""Where the rows for a first recipe are: a file, a folder, or a data set of the hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from training.data.files import PlacedRow, read_rows
from training.data.hub import read_hub

FORMATS: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"} | {
    ".csv": "csv",
    ".parquet": "parquet",
}
SPLIT: Final = "train"  # of a data set that has several


def data_keys(rows: str, validation: str | None, test: str | None) -> dict[str, Any]:
    """The keys of a recipe's `data` that say where the rows are."""
    file_format = FORMATS.get(Path(rows).suffix.lower())
    if Path(rows).is_dir() or (file_format is None and not Path(rows).is_file()):
        keys: dict[str, Any] = {"format": "hub", "path": rows, "train": SPLIT}
    else:
        # without a known suffix, the reader of files says which it expects
        keys = {"format": file_format, "train": rows}
    more = {"validation": validation, "test": test}
    return keys | {key: value for key, value in more.items() if value is not None}


def read_origin(keys: dict[str, Any]) -> Iterator[PlacedRow]:
    """The rows of these keys of `data`. Raises DataError."""
    if keys["format"] == "hub":
        return read_hub(keys["path"], None, None, keys["train"])
    return read_rows(Path(keys["train"]), keys["format"])
