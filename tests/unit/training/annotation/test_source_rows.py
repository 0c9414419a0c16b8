from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tasks.builtin import TASKS
from tests.support.simple_problems import write_problems
from training.annotation.rows import Rows
from training.data.row import DataError

SVAMP = TASKS["svamp"]


def rows(path: Path, *, labelled: bool = False, limit: int | None = None, **columns: str) -> Rows:
    return Rows(path, SVAMP, columns, labelled, limit)


def test_rows_are_as_their_file_has_them_and_as_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    problems = write_problems(path, rows=5, seed=0)
    found = list(rows(path))
    assert [source.values for source in found] == problems
    assert [source.row.input["text"] for source in found] == [one["input"] for one in problems]
    assert [source.row.label for source in found] == [one["label"] for one in problems]
    assert list(rows(path)) == found
    again = rows(path, limit=3)
    assert [list(again), list(again)] == [found[:3], found[:3]]


def test_csv_and_parquet_with_other_columns(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("question,gold,id\nOne?,( 1 + 1 ),a\nTwo?,,b\n")
    table = pa.table({"question": ["One?", "Two?"], "gold": ["( 1 + 1 )", None], "id": ["a", "b"]})
    parquet.write_table(table, tmp_path / "rows.parquet")
    for kind in ("csv", "parquet"):
        one, two = rows(tmp_path / f"rows.{kind}", text="question", label="gold")
        assert one.values == {"question": "One?", "gold": "( 1 + 1 )", "id": "a"}
        assert (one.row.input, one.row.label) == ({"text": "One?"}, "( 1 + 1 )")
        assert (two.row.input, two.row.label) == ({"text": "Two?"}, None)


def test_labels_may_be_needed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "One?", "label": null}\n{"text": "Two?"}\n')
    assert len(list(rows(path))) == 2
    assert len(list(rows(path, labelled=True, limit=1))) == 1
    with pytest.raises(DataError, match='line 2: no "label"; there is text'):
        list(rows(path, labelled=True))


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    for name, content, complaint in (
        ("rows.txt", "", r"rows.txt: expected a file named \*\.jsonl, \*\.csv or \*\.parquet"),
        ("rows.jsonl", '{"text": "One?"}\n{"text": ""}\n', "line 2: expected a non-empty text"),
        ("rows.jsonl", '{"text": "One?"}\n{', "line 2: not JSON"),
        ("rows.csv", "question\nOne?\n", 'rows.csv, line 2: no "text"; there is question'),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=complaint):
            list(rows(tmp_path / name))
    with pytest.raises(DataError, match=r"none\.jsonl: No such file"):
        list(rows(tmp_path / "none.jsonl"))
