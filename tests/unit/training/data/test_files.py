from pathlib import Path
from typing import get_args

import pyarrow as pa
import pytest
from pyarrow import parquet

from tasks.row_files import Format
from training.data.files import read_rows
from training.data.row import DataError


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "x"}\n\n{"a": ["y"]}')
    assert list(read_rows(path)) == [
        (f"{path}, line 1", {"a": "x"}),
        (f"{path}, line 3", {"a": ["y"]}),
    ]


def test_csv_tells_the_line_in_which_a_row_begins(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a,b\n"1, or\n2",x\n\n3,\n', encoding="utf-8-sig")
    assert list(read_rows(path)) == [
        (f"{path}, line 2", {"a": "1, or\n2", "b": "x"}),
        (f"{path}, line 5", {"a": "3", "b": None}),
    ]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [{"a": str(i), "b": [str(i), "x"]} for i in range(3000)]
    parquet.write_table(pa.Table.from_pylist(rows), path)
    read = list(read_rows(path))
    assert [row for _, row in read] == rows
    assert read[2999][0] == f"{path}, row 3000"


@pytest.mark.parametrize("name", get_args(Format))
def test_missing_files_are_named(tmp_path: Path, name: Format) -> None:
    for path, complaint in ((tmp_path / "none", "none: .*No such file"), (tmp_path, "directory")):
        with pytest.raises(DataError, match=complaint):
            list(read_rows(path, name))
