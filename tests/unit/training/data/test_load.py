import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tasks.builtin import TASKS
from tasks.columns import Columns
from tasks.task import Task
from tests.support.simple_problems import write_problems
from training.data.load import load_rows
from training.data.row import DataError, Row
from training.data.sources import FilesSource, HubSource

SVAMP = TASKS["svamp"]
PAIR = Task(name="pair", fields=["a", "b"], template="{{a}}</s>{{b}}")


def files(path: Path, columns: Columns | None = None) -> FilesSource:
    kind = path.suffix.removeprefix(".")
    return FilesSource(format=kind, train=path, columns=columns or {})


def test_json_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    problems = write_problems(path, rows=20, seed=1)
    rows, report = load_rows(files(path), SVAMP)
    problem = problems[3]
    assert rows[3] == Row(
        f"{path}, line 4",
        {"text": problem["input"]},
        problem["label"],
        rationales=(problem["rationale"],),
    )
    assert (len(rows), report.read, report.dropped, report.without_rationale) == (20, 20, 0, 0)


def test_inputs_may_be_objects_and_rationales_missing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"input": {"a": "x", "b": " y "}, "label": "z", "rationale": null}\n'
        '{"a": "x", "b": "y", "label": "z", "rationale": ["v", "w", "v"], "teacher_label": "q"}\n'
        '{"a": "x", "b": "y", "label": null}\n'
    )
    rows, report = load_rows(files(path), PAIR)
    assert rows == [
        Row(f"{path}, line 1", {"a": "x", "b": "y"}, "z"),
        Row(f"{path}, line 2", {"a": "x", "b": "y"}, "z", "q", ("v", "w")),
    ]
    assert (report.read, report.dropped, report.without_rationale) == (3, 1, 1)
    assert "1 × row whose label is null (first: line 3)" in str(report)
    rows, report = load_rows(files(path), PAIR, labelled=False)
    assert (rows[2].label, report.dropped) == (None, 0)


def test_what_a_teacher_tells_of_its_answers_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"a": "x", "b": "y", "teacher_label": "z", "agreement": 0.8, "label_given": false}\n'
        '{"a": "x", "b": "y", "label": "z", "rationale": "so", "label_given": true}\n'
    )
    rows, report = load_rows(files(path), PAIR, labelled=False)
    assert [(row.agreement, row.label_given) for row in rows] == [(0.8, False), (None, True)]
    assert "1 × rationale of a label that the teacher was told (first: line 2)" in str(report)
    table = tmp_path / "rows.csv"
    table.write_text("a,b,label,agreement\nx,y,z,0.25\nx,y,z,\n")
    rows, _ = load_rows(files(table), PAIR)
    assert [row.agreement for row in rows] == [0.25, None]
    table.write_text("a,b,label,agreement\nx,y,z,most\n")
    with pytest.raises(DataError, match=r'line 2: expected a share .* under "agreement", found'):
        load_rows(files(table), PAIR)


def test_columns_are_mapped_in_every_format(tmp_path: Path) -> None:
    columns: Columns = {"text": "question", "label": "gold", "rationale": ["why", "or"]}
    records = [
        {"question": "One?", "gold": "1", "why": "so", "or": "thus"},
        {"question": "Two?", "gold": "2", "why": None, "or": "thus"},
        {"question": "Three?", "gold": "3", "why": None, "or": None},
    ]
    table = pa.Table.from_pylist(records)
    parquet.write_table(table, tmp_path / "rows.parquet")
    cells = [",".join(value or "" for value in record.values()) for record in records]
    (tmp_path / "rows.csv").write_text("\n".join([",".join(records[0]), *cells]))
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "hub").mkdir()
    parquet.write_table(table, tmp_path / "hub" / "train.parquet")
    sources = [files(tmp_path / f"rows.{kind}", columns) for kind in ("parquet", "csv", "jsonl")]
    for source in (*sources, HubSource(format="hub", path=f"{tmp_path}/hub", columns=columns)):
        rows, report = load_rows(source, SVAMP)
        assert [row.input for row in rows] == [{"text": record["question"]} for record in records]
        assert [row.label for row in rows] == ["1", "2", "3"]
        assert [row.rationales for row in rows] == [("so", "thus"), ("thus",), ()]
        assert report.without_rationale == 1


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"txt": "a"}, "data.columns: 'txt' is none of text, label, teacher_label, rationale"),
        ({"text": ["a", "b"]}, "data.columns.text: expected one column, not a list"),
        ({"text": "question"}, 'line 1: no "question"; there is input, label, rationale'),
        ({"rationale": "why"}, "no row has the column 'why' of data.columns.rationale"),
    ],
)
def test_a_map_that_does_not_fit_is_named(tmp_path: Path, columns: Columns, complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    write_problems(path, rows=3, seed=0)
    with pytest.raises(DataError, match=complaint):
        load_rows(files(path, columns), SVAMP)
