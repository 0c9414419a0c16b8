import json
from pathlib import Path

import pytest

from tests.word_problems import write_problems
from training.data import (
    DataError,
    Example,
    load_json_lines,
)
from training.tasks import TASKS, Task

SVAMP = TASKS["svamp"]
PAIR = Task(name="pair", fields=["a", "b"], template="{{a}}</s>{{b}}")


def test_json_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = write_problems(path, rows=20, seed=1)
    examples, report = load_json_lines(path, SVAMP)
    assert examples[3] == Example(
        {"text": rows[3]["input"]}, rows[3]["label"], rows[3]["rationale"]
    )
    assert (len(examples), report.read, report.dropped, report.without_rationale) == (20, 20, 0, 0)


def test_inputs_may_be_objects_and_rationales_missing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input": {"a": "x", "b": " y "}, "label": "z", "rationale": null}\n\n')
    examples, report = load_json_lines(path, PAIR)
    assert examples == [Example({"a": "x", "b": "y"}, "z", None)]
    assert report.without_rationale == 1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "expected an object, found list"),
        ("[" * 100_000, "not JSON"),
        ('{"input": {"a": "x", "b": "\\ud800"}, "label": "z"}', "half of a surrogate pair"),
        ('{"label": "z"}', '"input" must be an object with a, b'),
        ('{"input": "x", "label": "z"}', '"input" must be an object with a, b'),
        ('{"input": {"a": "x"}, "label": "z"}', 'a non-empty text under "b", found None'),
        ('{"input": {"a": "x", "b": "y"}}', 'a non-empty text under "label"'),
        ('{"input": {"a": "x", "b": "y"}, "label": " "}', 'a non-empty text under "label"'),
        (
            '{"input": {"a": "x", "b": "y"}, "label": "z", "rationale": 3}',
            'a non-empty text under "rationale", found 3',
        ),
    ],
)
def test_a_bad_row_names_its_file_and_line(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "rows.jsonl"
    good = json.dumps({"input": {"a": "x", "b": "y"}, "label": "z"})
    path.write_text(f"{good}\n{line}\n")
    with pytest.raises(DataError) as error:
        load_json_lines(path, PAIR)
    assert f"{path}, line 2: " in str(error.value)
    assert complaint in str(error.value)


def test_choices_are_read_and_hold_the_label(tmp_path: Path) -> None:
    task = Task(
        name="cqa",
        fields=["question", "choices"],
        template="{{question}}{% for choice in choices %} {{choice}}{% endfor %}",
        labels={"field": "choices"},
    )
    path = tmp_path / "rows.jsonl"
    row = {"input": {"question": "What?", "choices": ["pen", " ink "]}, "label": "ink"}
    path.write_text(json.dumps(row))
    (example,), _ = load_json_lines(path, task)
    assert example.input == {"question": "What?", "choices": ["pen", "ink"]}
    for changes, complaint in (
        ({"label": "nib"}, "the label 'nib' is not one of pen, ink"),
        ({"input": {"question": "What?", "choices": "pen"}}, 'a list of texts under "choices"'),
        ({"input": {"question": "What?", "choices": []}}, 'a list of texts under "choices"'),
        ({"input": {"question": "What?", "choices": [""]}}, 'a non-empty text under "choices"'),
        ({"input": "What?"}, '"input" must be an object with question, choices'),
    ):
        path.write_text(json.dumps(row | changes))
        with pytest.raises(DataError, match=complaint):
            load_json_lines(path, task)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: No such file"):
        load_json_lines(tmp_path / "none.jsonl", SVAMP)
    (tmp_path / "latin.jsonl").write_bytes(b'{"input": "caf\xe9", "label": "x"}\n')
    with pytest.raises(DataError, match=r"latin\.jsonl: not UTF-8"):
        load_json_lines(tmp_path / "latin.jsonl", SVAMP)
