import json
import logging
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tasks.builtin import TASKS
from tasks.task import Task
from tests.support.simple_problems import RECIPE, write_problems
from training.config import DistillConfig, load_config
from training.data.row import DataError
from training.data.splits import load_splits
from training.evaluation.labelled import from_file, from_recipe

SVAMP = TASKS["svamp"]
ROWS = [
    {"text": " How many? ", "label": "1 + 1", "rationale": ["Two.", "2."]},
    {"text": "How few?", "label": None, "rationale": None},
    {"text": "None?", "label": "0", "rationale": None},
]


def write(path: Path, rows: list[dict[str, object]] = ROWS) -> Path:
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".csv":
            path.write_text("text,label,rationale\n How many? ,1 + 1,Two.\nHow few?,,\nNone?,0,\n")
        case ".parquet":
            parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_file_of_each_kind(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    data = from_file(write(tmp_path / name), SVAMP)
    first, second = data.read()
    assert data.count == 2
    assert (first.index, first.text, first.gold, first.reference, first.cluster) == (
        *(0, "How many?", "1 + 1"),
        *("Two.", "0"),
    )
    assert (second.index, second.gold, second.reference, second.cluster) == (2, "0", None, "2")
    assert "1 × row whose label is null" in caplog.text
    assert [*data.read()] == [first, second]  # again


def test_the_fingerprint_is_of_the_rows_alone(tmp_path: Path) -> None:
    one = from_file(write(tmp_path / "a.jsonl"), SVAMP)
    (tmp_path / "elsewhere").mkdir()
    same = from_file(write(tmp_path / "elsewhere" / "b.jsonl"), SVAMP)
    other = from_file(write(tmp_path / "c.jsonl", [*ROWS[:2], ROWS[2] | {"label": "1"}]), SVAMP)
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", "", r"expected a file named \*\.jsonl, \*\.csv or \*\.parquet"),
        ("a", "", r"expected a file named \*\.jsonl"),
        ("none.jsonl", None, "No such file"),
        ("a.jsonl", "", "no row can be used"),
        ("a.jsonl", '{"text": "a", "label": null}\n', "no row can be used"),
        ("a.jsonl", '{"text": "a", "label": "1"}\n{', "line 2: not JSON"),
        ("a.jsonl", '{"text": "a"}\n', 'line 1: no "label"'),
        ("a.csv", "text,label\na\n", "line 2: 1 value, but the header names 2"),
        ("a.parquet", "a", "cannot be read as Parquet"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=complaint):
        from_file(tmp_path / name, SVAMP)


def test_a_file_with_the_columns_of_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("problem,sum,why\nHow many?,1 + 1,Two.\n")
    columns = {"text": "problem", "label": "sum", "rationale": "why"}
    (row,) = from_file(path, SVAMP, columns).read()
    assert (row.text, row.gold, row.reference) == ("How many?", "1 + 1", "Two.")
    there = "there is problem, sum, why; if its name is another, name it by data.columns of the"
    with pytest.raises(DataError, match=f'"text"; {there} recipe: --recipe RECIPE.yaml$'):
        from_file(path, SVAMP)
    with pytest.raises(DataError, match=f'"label"; {there} recipe$'):
        from_file(path, SVAMP, {"text": "problem"})


def recipe(folder: Path, *overrides: str) -> DistillConfig:
    for name, rows, seed in (("train", 60, 0), ("test", 10, 1)):
        write_problems(folder / f"{name}.jsonl", rows, seed)
    paths = [f"data.{name}={folder / name}.jsonl" for name in ("train", "test")]
    return load_config(RECIPE, [*paths, "validation_rows=12", *overrides])


def test_the_splits_of_a_recipe_are_those_of_training(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    splits = load_splits(config)
    for split, examples in (("test", splits.test), ("validation", splits.validation)):
        rows = [*from_recipe(config, split, SVAMP).read()]
        assert [(row.input, row.gold, row.reference) for row in rows] == [
            (example.input, example.label, example.rationale) for example in examples
        ]
        assert [row.cluster for row in rows] == [*map(str, range(len(examples)))]


def test_rows_that_are_training_rows_too_are_told(tmp_path: Path) -> None:
    config = recipe(tmp_path)
    test = (tmp_path / "test.jsonl").read_text()
    assert from_recipe(config, "test", SVAMP).warning is None
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write(test * 3)  # of which 12 rows at most are held out
    data = from_recipe(config, "test", SVAMP)
    told = " of 10 test rows are training rows too (first: "
    assert data.warning is not None
    assert told in data.warning
    assert data.identity["warning"] == data.warning
    assert data.count == 10


def test_groups_of_a_recipe_are_clusters(tmp_path: Path) -> None:
    config = recipe(tmp_path, "data.group_by='{{text[-20:]}}'")
    clusters = [row.cluster for row in from_recipe(config, "test", SVAMP).read()]
    assert 1 < len(set(clusters)) < len(clusters)


def test_the_model_renders_the_rows_of_a_recipe(tmp_path: Path) -> None:
    task = SVAMP.model_copy(update={"name": "other", "template": "Q: {{text}}"})
    (row, *_) = from_recipe(recipe(tmp_path), "test", task).read()
    assert row.text == f"Q: {row.input['text']}"
    assert isinstance(row.input["text"], str)


def test_rows_of_another_task_are_refused(tmp_path: Path) -> None:
    for task, complaint in (
        (
            TASKS["esnli"],
            r"task\.fields: \['text'\] in the recipe, but \['premise', 'hypothesis'\]",
        ),
        (Task(name="t", fields=["text"], template="{{text}}"), "task.answer: 'arithmetic' in"),
    ):
        with pytest.raises(DataError, match=complaint):
            from_recipe(recipe(tmp_path), "test", task)
    with pytest.raises(DataError, match="the recipe names no test rows"):
        from_recipe(recipe(tmp_path, "data.test=null"), "test", SVAMP)
    failing = SVAMP.model_copy(update={"template": "{{text.split('many')[1]}}{{text[9999].a}}"})
    with pytest.raises(DataError, match="test row 0: the model's template fails"):
        from_recipe(recipe(tmp_path), "test", failing)
