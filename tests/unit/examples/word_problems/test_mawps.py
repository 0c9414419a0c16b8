import json
from pathlib import Path

import pytest

from examples.word_problems.mawps import label_of_equation, main


@pytest.mark.parametrize(
    ("equation", "label"),
    [
        ("X=((22.0-14.0)/4.0)", "( ( 22.0 - 14.0 ) / 4.0 )"),
        ("x=3*6", "( 3.0 * 6.0 )"),
        ("x=5.91+8.11+2", "( ( 5.91 + 8.11 ) + 2.0 )"),
        ("(4 + 5) * 2 = x", "( ( 4.0 + 5.0 ) * 2.0 )"),
        ("x=7", "7.0"),
        ("x-7=3", None),
        ("x=2*x", None),
        ("x=-3", None),
        ("x=2**3", None),
        ("x=(3", None),
        ("3+4", None),
    ],
)
def test_equations_become_labels(equation: str, label: str | None) -> None:
    assert label_of_equation(equation) == label


def test_what_can_be_used_becomes_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"input": "Ann has 3 pens and 4 inks .", "equation": "X=(3.0+4.0)", "answer": 7.0},
        {"input": "Ann has 3 pens .", "equation": "x-3=1", "answer": 4.0},
        {"input": "Ann has 3 pens .", "equation": "x=3+1", "answer": "5"},
    ]
    source, out = tmp_path / "mawps.json", tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([str(source), "--out", str(out)]) == 0
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        {"input": "Ann has 3 pens and 4 inks .", "label": "( 3.0 + 4.0 )"}
    ]
    told = capsys.readouterr().err
    assert told == "1 rows, 1 not solved for x, 1 value is not the answer\n"


def test_a_row_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "mawps.json"
    source.write_text('{"input": "a", "equation": "x=1", "answer": null}\n')
    assert main([str(source), "--out", str(tmp_path / "rows.jsonl")]) == 2
    assert 'mawps.json, line 1: no number under "answer"' in capsys.readouterr().err
