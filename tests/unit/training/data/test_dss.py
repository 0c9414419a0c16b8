import json
from pathlib import Path

import pytest

from tasks.builtin import TASKS
from tasks.task import Task
from training.data.completions import Unparsed
from training.data.dss import load_dss, parse_completion
from training.data.load_report import LoadReport
from training.data.row import DataError, Row
from training.data.sources import DssSource

SVAMP = TASKS["svamp"]
NLI = ["entailment", "neutral", "contradiction"]
CHOICES = ["new york", "a pen", "A pen", "washington d.c", "to write."]
LABELS = {"svamp": None, "cqa": CHOICES, "anli1": NLI, "esnli": NLI}


def load(
    folder: Path, task: str | Task, split: str, **keys: object
) -> tuple[list[Row], LoadReport]:
    source = DssSource(format="dss", path=folder, **keys)
    return load_dss(source, task if isinstance(task, Task) else TASKS[task], split)


@pytest.mark.parametrize(
    ("task", "completion", "parsed"),
    [
        ("svamp", "Two and 2 make 4. The answer is (2 + 2).", ("Two and 2 make 4.", "(2 + 2)")),
        (
            "svamp",
            "8 * 3 = 24. The answer is (8 * 3).\n\nQ: What is 1 + 1?\nA: 2. The answer is (1 + 1).",
            ("8 * 3 = 24.", "(8 * 3)"),
        ),
        ("svamp", "So 9. The answer is (2 + 1) * 3.\n\nQ:", ("So 9.", "(2 + 1) * 3")),
        ("cqa", "It writes. So the answer is (b) a pen.\n\nQ: Or?", ("It writes.", "a pen")),
        ("cqa", "A city. So the answer is (a) New York.", ("A city.", "new york")),
        ("cqa", "A city. So the answer is (d) Washington D.C.", ("A city.", "washington d.c")),
        ("cqa", "Ink. So the answer is (e) to write.", ("Ink.", "to write.")),
        (
            "anli1",
            "He ran. So the answer is neutral.\n\nPremise: B\nSo the answer is entailment.",
            ("He ran.", "neutral"),
        ),
        ("esnli", "He ran.\nAnswer: Contradiction\n\nPremise", ("He ran.", "contradiction")),
    ],
)
def test_completions_split_into_rationale_and_label(
    task: str, completion: str, parsed: tuple[str, str]
) -> None:
    labels = LABELS[task]
    assert parse_completion(task, completion, labels) == parsed


@pytest.mark.parametrize(
    ("task", "completion", "reason"),
    [
        ("svamp", "It is cut. The answer is (4 / ", "without an equation"),
        ("svamp", "Nothing follows. The answer is 7.", "without an equation"),
        ("svamp", "The teacher never got to an end", "without an answer"),
        ("svamp", "What?\n\nQ: One? The answer is (1).", "without an answer"),
        ("svamp", "The answer is (1 + 1).", "without a rationale"),
        ("svamp", "", "without an answer"),
        ("cqa", "Both. So the answer is either (a) new york or (b) a pen.", "several choices"),
        ("cqa", "It. So the answer is (b) paper.", "none of the labels"),
        ("cqa", "It. So the answer is a pen.", "none of the labels"),
        ("cqa", "It is cut. So the answer is", "without an answer"),
        ("anli1", "He ran, so the answer is neutral.", "without an answer"),
        ("anli1", "He ran. So the answer is unclear.", "none of the labels"),
        ("esnli", "Answer: neutral", "without a rationale"),
    ],
)
def test_completions_that_do_not_parse_tell_why(task: str, completion: str, reason: str) -> None:
    labels = LABELS[task]
    with pytest.raises(Unparsed, match=reason):
        parse_completion(task, completion, labels)


def write_archive(folder: Path, completions: list[list[str]]) -> None:
    (folder / "svamp" / "llm").mkdir(parents=True)
    rows = [{"input": f"Question {i}?", "label": f"( {i}.0 + 1.0 )"} for i in range(3)]
    write_rows(folder, "svamp", "train", rows)
    for part, texts in enumerate(completions):
        (folder / "svamp" / "llm" / f"train_CoT_{part}.json").write_text(json.dumps(texts))


def write_rows(folder: Path, task: str, split: str, rows: list[dict[str, object]]) -> None:
    (folder / task).mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / task / f"{task}_{split}.json").write_text(text)


def test_parts_of_completions_follow_each_other(tmp_path: Path) -> None:
    write_archive(tmp_path, [["Zero. The answer is (0 + 1)."], ["lost", "Two. The answer is (3)."]])
    rows, report = load(tmp_path, "svamp", "train")
    place = f"{tmp_path}/svamp/svamp_train.json, line "
    assert rows == [
        Row(f"{place}1", {"text": "Question 0?"}, "( 0.0 + 1.0 )", "(0 + 1)", ("Zero.",)),
        Row(f"{place}2", {"text": "Question 1?"}, "( 1.0 + 1.0 )"),
        Row(f"{place}3", {"text": "Question 2?"}, "( 2.0 + 1.0 )", "(3)", ("Two.",)),
    ]
    assert (report.read, report.dropped, report.without_rationale) == (3, 0, 1)
    assert "1 × completion without an answer (first: line 2)" in str(report)


def test_human_explanations_of_classes(tmp_path: Path) -> None:
    row: dict[str, object] = {"premise": "A", "hypothesis": "B", "label": 2}
    row |= {"explanation_1": "b", "explanation_2": "a", "explanation_3": "b"}
    write_rows(tmp_path, "esnli", "valid", [row])
    (read,), _ = load(tmp_path, "esnli", "valid", rationales="human")
    assert (read.label, read.teacher_label, read.rationales) == ("contradiction", None, ("b", "a"))
    for label, reason in (
        (3, "the label '3' is not"),
        (-1, "the label '-1' is"),
        (None, "expected "),
    ):
        write_rows(tmp_path, "esnli", "valid", [row, row | {"label": label}])
        with pytest.raises(DataError, match=rf"esnli_valid\.json, line 2: {reason}"):
            load(tmp_path, "esnli", "valid", rationales="human")


def test_the_teacher_is_missed_only_where_it_teaches(tmp_path: Path) -> None:
    write_archive(tmp_path, [])
    with pytest.raises(DataError, match=r"no train_CoT_0\.json"):
        load(tmp_path, "svamp", "train")
    rows, report = load_dss(
        DssSource(format="dss", path=tmp_path), SVAMP, "train", completions=False
    )
    assert (len(rows), report.without_rationale) == (3, 3)


def test_too_few_completions_are_an_error(tmp_path: Path) -> None:
    write_archive(tmp_path, [["Zero. The answer is (0 + 1)."]])
    with pytest.raises(DataError, match="3 rows, but 1 completions"):
        load(tmp_path, "svamp", "train")


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"svamp_train\.json: No such file"):
        load(tmp_path, "svamp", "train")
    write_archive(tmp_path, [])
    (tmp_path / "svamp" / "llm" / "train_CoT_0.json").write_text("[1, 2, 3]")
    with pytest.raises(DataError, match=r"train_CoT_0\.json: expected a JSON list of texts"):
        load(tmp_path, "svamp", "train")
    with pytest.raises(DataError, match=r"no reader for .* task other"):
        load(tmp_path, Task(name="other", fields=["a"], template="{{a}}"), "train")
    with pytest.raises(DataError, match="svamp has no human rationales"):
        load(tmp_path, "svamp", "train", rationales="human")


@pytest.mark.parametrize(
    ("task", "split", "rows", "parsed", "right"),
    [
        ("svamp", "train", 800, 787, 594),
        ("svamp", "test", 100, 100, 75),
        ("cqa", "train", 9741, 9423, 7334),
        ("cqa", "test", 610, 598, 485),
        ("anli1", "valid", 1000, 991, 668),
    ],
)
def test_the_real_archive(
    real_data: Path, task: str, split: str, rows: int, parsed: int, right: int
) -> None:
    read, report = load(real_data / "dss", task, split)
    taught = [row for row in read if row.teacher_label is not None]
    assert (len(read), len(taught), report.without_rationale) == (rows, parsed, rows - parsed)
    assert report.reasons.total() == rows - parsed
    assert sum(TASKS[task].is_right(row.teacher_label, row.label) for row in taught) == right


def test_the_real_explanations_of_people(real_data: Path) -> None:
    for task, split, rows, rationales in (
        ("esnli", "valid", 9842, 29434),
        ("cqa", "train", 9741, 9741),
        ("anli1", "valid", 1000, 1000),
    ):
        read, report = load(real_data / "dss", task, split, rationales="human")
        assert (len(read), report.without_rationale) == (rows, 0)
        assert sum(len(row.rationales) for row in read) == rationales
