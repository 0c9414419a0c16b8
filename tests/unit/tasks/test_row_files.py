import builtins
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tasks.row_files import NotJson, Place, RowError, RowFile, RowFileError, open_rows

ROWS = [{"text": "one"}, {"text": 'a "b", c'}, {"text": "é\u2028\nü"}, {"text": "four"}]
JSONL = (
    '\ufeff{"text": "one"}\r\n'
    '{"text": "a \\"b\\", c"}\n'
    "\n"
    '{"text": "é\u2028\\nü"}\n'
    "  \n"
    '{"text": "four"}'
)
CSV = '\ufefftext\r\none\r\n"a ""b"", c"\n\n"é\u2028\nü"\nfour'


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]], row_group_size: int) -> Path:
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size)
    return path


def file_of(kind: str, folder: Path) -> Path:
    if kind == "parquet":
        return write_parquet(folder / "rows.parquet", ROWS, 3)
    return write(folder, f"rows.{kind}", {"jsonl": JSONL, "csv": CSV}[kind])


def all_rows(file: RowFile) -> list[Any]:
    return [row.content for row in file.rows()]


@pytest.mark.parametrize(
    ("kind", "lines"), [("jsonl", [1, 2, 4, 6]), ("csv", [2, 3, 5, 7]), ("parquet", [1, 2, 3, 4])]
)
def test_rows_are_read_from_any_place_on(kind: str, lines: list[int], tmp_path: Path) -> None:
    file = open_rows(file_of(kind, tmp_path))
    places = list(file.places())
    assert [place.line for place in places] == lines
    assert all_rows(file) == ROWS
    for i, place in enumerate(places):
        rows = list(file.rows(place))
        assert [row.place for row in rows] == places[i:]
        assert [row.content for row in rows] == ROWS[i:]


def test_a_format_that_the_suffix_does_not_name(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.json", JSONL)
    assert all_rows(open_rows(path, "jsonl")) == ROWS
    assert all_rows(open_rows(path.rename(tmp_path / "ROWS.JSONL"))) == ROWS


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", ""), ("a.jsonl", "\n \n"), ("a.csv", "text\n"), ("a.csv", "")]
)
def test_files_without_rows(name: str, content: str, tmp_path: Path) -> None:
    file = open_rows(write(tmp_path, name, content))
    assert (list(file.places()), all_rows(file)) == ([], [])


def problem(row: Any) -> tuple[type[RowError], str]:
    assert isinstance(row, RowError)
    return type(row), str(row)


def test_a_wrong_line_of_json_costs_that_line(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    content = b'{"text": \n[1]\n"a text"\n"\xff"\n' + deep + b'\n{"text": "x"}\n'
    rows = all_rows(open_rows(write(tmp_path, "rows.jsonl", content)))
    assert problem(rows[0]) == (NotJson, "not JSON: Expecting value at character 10")
    assert rows[1:3] == [[1], "a text"]  # any value: who reads them says what a row may be
    assert problem(rows[3]) == (RowError, "not UTF-8 at byte 1 of the line")
    assert problem(rows[4]) == (NotJson, "not JSON: it is nested too deeply")
    assert rows[5:] == [{"text": "x"}]


def test_a_wrong_row_of_csv_costs_that_row(tmp_path: Path) -> None:
    content = b'a,b\n1\n1,2,3\n"x"y,2\n\xff,2\n,2\n3,"4\n5"6,7\n8,9\n"never closed\n1,2\n'
    file = open_rows(write(tmp_path, "rows.csv", content))
    assert file.columns == ["a", "b"]
    assert [row.place.line for row in file.rows()] == [2, 3, 4, 5, 6, 7, 9, 10]
    rows = all_rows(file)
    expected = "but the header names 2 columns"
    assert problem(rows[0]) == (RowError, f"1 value, {expected}")
    assert problem(rows[1]) == (RowError, f"3 values, {expected}")
    assert problem(rows[2])[1].startswith("not a row of CSV: ")
    assert problem(rows[3]) == (RowError, "not UTF-8 at byte 0 of the line")
    assert rows[4] == {"a": None, "b": "2"}
    assert problem(rows[5])[1].startswith("not a row of CSV, which ends in line 8: ")
    assert rows[6] == {"a": "8", "b": "9"}
    assert problem(rows[7])[1].startswith("not a row of CSV, which ends in line 11: ")


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("text;label", "';'"),
        ('"text";"label"', "';'"),
        ("text\tlabel", "tabs"),
        ("\ufefftext|label", "'|'"),
        ("sep=;", "';'"),
    ],
)
def test_another_separator_is_named(header: str, separator: str, tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", f"{header}\nHello, you;a\n")
    with pytest.raises(RowFileError) as refused:
        open_rows(path)
    assert str(refused.value) == (
        f"{path}, line 1: columns are separated by {separator}; "
        "write the file with ',' between them"
    )


def test_one_quoted_name_may_have_another_separator(tmp_path: Path) -> None:
    rows = all_rows(open_rows(write(tmp_path, "rows.csv", '"a;b"\n1\n1,2\n')))
    assert rows[0] == {"a;b": "1"}
    assert problem(rows[1]) == (RowError, "2 values, but the header names 1 column")


def test_a_line_without_end_is_not_kept(tmp_path: Path) -> None:
    long = "x" * 50
    for name, content, rows in (
        ("a.jsonl", f'"{long}"\n"y"\n"{"z" * 17}"\n"{long}"', ["y", "z" * 17]),
        ("a.csv", f"a\n{long}\ny\n{long}", [{"a": "y"}]),
    ):
        path = write(tmp_path, name, content)
        first, *middle, last = all_rows(open_rows(path, max_line_bytes=20))
        assert middle == rows
        for row in (first, last):
            assert problem(row) == (RowError, "the line has more than 20 bytes")


def test_parquet_is_read_by_columns_and_groups(tmp_path: Path) -> None:
    rows = [{"id": i, "text": f"text {i}", "other": b"\xff"} for i in range(1000)]
    file = open_rows(write_parquet(tmp_path / "rows.parquet", rows, 400))
    assert file.columns == ["id", "text", "other"]
    file.wanted = {"text", "id", "absent"}
    found = [row.content for row in file.rows(Place(399, 400))]
    assert found == [{"id": i, "text": f"text {i}"} for i in range(399, 1000)]


def test_a_text_of_parquet_that_is_none_costs_its_row(tmp_path: Path) -> None:
    texts = pa.array([b"one", b"\xff", b"three"]).view(pa.string())  # as careless writers do
    parquet.write_table(pa.table({"text": texts}), tmp_path / "rows.parquet")
    one, wrong, three = all_rows(open_rows(tmp_path / "rows.parquet"))
    assert [one, three] == [{"text": "one"}, {"text": "three"}]
    assert problem(wrong) == (RowError, "a text is not UTF-8 at its byte 0")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.xlsx", b"", "expected a file named *.jsonl, *.csv or *.parquet"),
        ("rows.csv", b"a,,b\n1,2,3\n", "line 1: a column has no name, or two have the same name"),
        ("rows.csv", b"a,a\n1,2\n", "line 1: a column has no name, or two have the same name"),
        ("rows.csv", b"\xff\n", "line 1: no header of a CSV file (not UTF-8 at byte 0"),
        ("rows.parquet", b"PAR1 and more that is none", "cannot be read as Parquet ("),
    ],
)
def test_files_that_are_none(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(RowFileError) as error:
        open_rows(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_a_damaged_part_of_parquet_is_found(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}" * 20} for i in range(1000)]
    path = write_parquet(tmp_path / "rows.parquet", rows, 500)
    content = bytearray(path.read_bytes())
    content[4:400] = b"\x00" * 396
    path.write_bytes(content)
    with pytest.raises(RowFileError, match="cannot be read as Parquet"):
        all_rows(open_rows(path))


def test_parquet_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of("parquet", tmp_path)
    real = builtins.__import__

    def without_pyarrow(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(RowFileError, match=r"needs pyarrow; install Duet's extra batch"):
        open_rows(path)
