"""Whatever is wrong with the data, `distill.py` says it in one line and exits with 2."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.command_errors import complaint_of
from tests.support.simple_problems import RECIPE

GOOD = '{"input": "How many?", "label": "1 + 1", "rationale": "Two."}\n'
CHOICES = "task=cqa"

Write = Callable[[Path], object]


def text(content: str, encoding: str = "utf-8") -> Write:
    return lambda path: path.write_bytes(content.encode(encoding))


def table(*rows: dict[str, object]) -> Write:
    return lambda path: parquet.write_table(pa.Table.from_pylist(list(rows)), path)


def cut_parquet(path: Path) -> None:
    table({"text": "a", "label": "b"})(path)
    path.write_bytes(path.read_bytes()[:-20])


def parquet_in_latin1(path: Path) -> None:
    bad = pa.Array.from_buffers(
        pa.string(),
        1,
        [None, pa.py_buffer(bytes([0] * 4 + [4, 0, 0, 0])), pa.py_buffer(b"caf\xe9")],
    )
    parquet.write_table(pa.table({"text": bad, "label": ["b"]}), path)


CASES: list[tuple[str, Write, str, list[str]]] = [
    ("none.jsonl", lambda path: None, "none.jsonl: No such file or directory", []),
    ("folder.jsonl", Path.mkdir, "folder.jsonl: Is a directory", []),
    ("a.jsonl", text(""), "a.jsonl: 0 rows, 0 dropped, 0 without a rationale: no row", []),
    ("a.jsonl", text(GOOD + "{"), "a.jsonl, line 2: not JSON", []),
    ("a.jsonl", text("\n" + GOOD + "[1]"), "a.jsonl, line 3: expected an object, found list", []),
    ("a.jsonl", text("[" * 99_999), "a.jsonl, line 1: not JSON", []),
    ("a.jsonl", text('{"input": "café"}', "latin-1"), "a.jsonl, line 1: not UTF-8", []),
    ("a.jsonl", text(GOOD, "utf-16"), "a.jsonl, line 1: not UTF-8", []),
    ("a.jsonl", text(GOOD + '{"input": "a"}'), 'line 2: no "label"; there is input', []),
    ("a.jsonl", text(GOOD + '{"label": "a"}'), 'line 2: no "text"; there is label', []),
    ("a.jsonl", text('{"input": " ", "label": "1"}'), 'a non-empty text under "input"', []),
    (
        "a.jsonl",
        text('{"input": "a", "label": 2.5}'),
        "line 1: expected a non-empty text under",
        [],
    ),
    ("a.jsonl", text('{"input": "\\ud800", "label": "2"}'), "half of a surrogate pair", []),
    ("a.jsonl", text('{"input": "a\\u0000", "label": "2"}'), "a NUL character", []),
    ("a.jsonl", text('{"input": "a", "label": null}'), "1 × row whose label is null", []),
    (
        "a.jsonl",
        text('{"input": "a", "label": "1", "rationale": ["b", 3]}'),
        'a.jsonl, line 1: expected a non-empty text under "rationale", found 3',
        [],
    ),
    ("a.jsonl", text(GOOD * 3), "3 usable training rows, of which validation_rows", []),
    ("a.jsonl", text(GOOD * 200), "none of the 1 groups of rows has 100 rows or fewer", []),
    ("a.jsonl", text(GOOD), "row without a teacher_label", ["data.labels=teacher"]),
    (
        "a.jsonl",
        text(GOOD),
        "a.jsonl: no row has the column 'why' of data.columns.rationale; there is input",
        ["data.columns.rationale=why"],
    ),
    ("a.jsonl", text(GOOD), "data.columns: 'txt' is none of text", ["data.columns.txt=input"]),
    (
        "a.jsonl",
        text('{"question": "a", "choices": ["b", "c"], "label": "d"}'),
        "a.jsonl, line 1: the label 'd' is not one of b, c",
        [CHOICES],
    ),
    (
        "a.jsonl",
        text('{"question": "a", "choices": "b", "label": "b"}'),
        "a.jsonl, line 1: expected a list of texts under \"choices\", found 'b'",
        [CHOICES],
    ),
    (
        "a.jsonl",
        text('{"text": "a", "label": "c"}\n{"text": "az", "label": "c"}'),
        "a.jsonl, line 2: the task's template fails",
        ["task={name: t, fields: [text], template: '{{text.split()[text.count(\"z\")]}}'}"],
    ),
    ("a.csv", text(""), "a.csv: 0 rows", []),
    ("a.csv", text("text,label\n"), "a.csv: 0 rows", []),
    ("a.csv", text("text,label\na,b\nc\n"), "line 3: 1 value, but the header names 2", []),
    ("a.csv", text("text,label\na,b,c\n"), "line 2: 3 values, but the header names 2", []),
    (
        "a.csv",
        text("text,text\na,b\n"),
        "a.csv, line 1: a column has no name, or two have the same name",
        [],
    ),
    ("a.csv", text("text,\na,b\n"), "a.csv, line 1: a column has no name", []),
    ("a.csv", text('text,label\na,b\n"c,d\n'), "a.csv, line 3: not a row of CSV", []),
    ("a.csv", text("text,label\na,b\n" + "c" * 200_000), "a.csv, line 3: not a row of CSV", []),
    ("a.csv", text("text,label\ncafé,b\n", "latin-1"), "a.csv, line 2: not UTF-8", []),
    ("a.csv", text("question,label\na,b\n"), 'line 2: no "text"; there is question, label', []),
    ("a.csv", text("text,label\na,b\n,b\n"), "a.csv, line 3: expected a non-empty text", []),
    ("a.parquet", text(""), "a.parquet: cannot be read as Parquet", []),
    ("a.parquet", text("text,label\na,b\n"), "a.parquet: cannot be read as Parquet", []),
    ("a.parquet", cut_parquet, "a.parquet: cannot be read as Parquet", []),
    ("a.parquet", parquet_in_latin1, "a.parquet, row 1: a text is not UTF-8", []),
    ("a.parquet", table({"text": "a"}), 'a.parquet, row 1: no "label"; there is text', []),
    ("a.parquet", table({"text": 3, "label": "b"}), "row 1: expected a non-empty text", []),
]


@pytest.mark.parametrize(("name", "write", "complaint", "overrides"), CASES)
def test_a_bad_file(
    tmp_path: Path,
    name: str,
    write: Write,
    complaint: str,
    overrides: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    write(path)
    data = {"format": path.suffix[1:], "train": str(path)}
    arguments = [str(RECIPE), f"data={json.dumps(data)}", f"output_dir={tmp_path}/out", *overrides]
    line = complaint_of(arguments, capsys)
    assert complaint in line
    assert name in line or "usable" in line or "groups" in line or "data.columns" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"llm/train_CoT_0.json": None}, "there is no train_CoT_0.json"),
        ({"llm/train_CoT_0.json": "{"}, "train_CoT_0.json: not a JSON list of completions"),
        ({"llm/train_CoT_0.json": "[1]"}, "train_CoT_0.json: expected a JSON list of texts"),
        ({"llm/train_CoT_0.json": "[]"}, "svamp_train.json: 1 rows, but 0 completions in llm/"),
        ({"svamp_train.json": None}, "svamp_train.json: No such file"),
        ({"svamp_test.json": None}, "svamp_test.json: No such file"),
        ({"svamp_train.json": '{"input": "a"}'}, "svamp_train.json, line 1: expected a non-empty"),
        ({"svamp_train.json": '{"label": "a"}'}, 'a non-empty text under "input", found None'),
    ],
)
def test_a_bad_archive(
    tmp_path: Path,
    changes: dict[str, str | None],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = '{"input": "a", "label": "1"}'
    files = {
        "svamp_train.json": row,
        "svamp_test.json": row,
        "llm/train_CoT_0.json": '["So. The answer is (1)."]',
    }
    (tmp_path / "svamp" / "llm").mkdir(parents=True)
    for name, content in (files | changes).items():
        if content is not None:
            (tmp_path / "svamp" / name).write_text(content)
    data = {"format": "dss", "path": str(tmp_path)}
    arguments = [str(RECIPE), f"data={json.dumps(data)}", f"output_dir={tmp_path}/out"]
    assert complaint in complaint_of(arguments, capsys)
