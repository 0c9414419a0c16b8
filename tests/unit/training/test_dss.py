import json
from pathlib import Path

import pytest

from training.data import DataError, Example
from training.dss import load_dss, parse_svamp
from training.tasks import TASKS, Task

SVAMP = TASKS["svamp"]


@pytest.mark.parametrize(
    ("completion", "parsed"),
    [
        ("Two and 2 make 4. The answer is (2 + 2).", ("Two and 2 make 4.", "(2 + 2)")),
        (
            "8 * 3 = 24. The answer is (8 * 3).\n\nQ: What is 1 + 1?\nA: 2. The answer is (1 + 1).",
            ("8 * 3 = 24.", "(8 * 3)"),
        ),
        ("So 9. The answer is (2 + 1) * 3.\n\nQ:", ("So 9.", "(2 + 1) * 3")),
        ("It is cut. The answer is (4 / ", None),
        ("The teacher never got to an end", None),
        ("Nothing follows. The answer is 7.", None),
        ("The answer is (1 + 1).", None),
        ("", None),
    ],
)
def test_completions_split_into_rationale_and_equation(
    completion: str, parsed: tuple[str, str] | None
) -> None:
    assert parse_svamp(completion) == parsed


def write_archive(folder: Path, completions: list[list[str]]) -> None:
    (folder / "svamp" / "llm").mkdir(parents=True)
    rows = [{"input": f"Question {i}?", "label": f"( {i}.0 + 1.0 )"} for i in range(3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "svamp" / "svamp_train.json").write_text(text)
    for part, texts in enumerate(completions):
        (folder / "svamp" / "llm" / f"train_CoT_{part}.json").write_text(json.dumps(texts))


def test_parts_of_completions_follow_each_other(tmp_path: Path) -> None:
    write_archive(tmp_path, [["Zero. The answer is (0 + 1)."], ["lost", "Two. The answer is (3)."]])
    examples, report = load_dss(tmp_path, SVAMP, "train")
    assert examples == [
        Example({"text": "Question 0?"}, "( 0.0 + 1.0 )", "Zero."),
        Example({"text": "Question 1?"}, "( 1.0 + 1.0 )", None),
        Example({"text": "Question 2?"}, "( 2.0 + 1.0 )", "Two."),
    ]
    assert (report.read, report.dropped, report.without_rationale) == (3, 0, 1)
    assert "1 × completion without an answer" in str(report)


def test_teacher_labels_drop_and_count_what_does_not_parse(tmp_path: Path) -> None:
    write_archive(tmp_path, [["Zero. The answer is (0 + 1).", "lost", "Two. The answer is (3)."]])
    examples, report = load_dss(tmp_path, SVAMP, "train", labels="teacher")
    assert [example.label for example in examples] == ["(0 + 1)", "(3)"]
    assert (report.read, report.dropped, report.without_rationale) == (3, 1, 0)


def test_too_few_completions_are_an_error(tmp_path: Path) -> None:
    write_archive(tmp_path, [["Zero. The answer is (0 + 1)."]])
    with pytest.raises(DataError, match="3 rows, but 1 completions"):
        load_dss(tmp_path, SVAMP, "train")


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"svamp_train\.json: No such file"):
        load_dss(tmp_path, SVAMP, "train")
    write_archive(tmp_path, [])
    with pytest.raises(DataError, match=r"no train_CoT_0\.json"):
        load_dss(tmp_path, SVAMP, "train")
    (tmp_path / "svamp" / "llm" / "train_CoT_0.json").write_text("[1, 2, 3]")
    with pytest.raises(DataError, match=r"train_CoT_0\.json: expected a JSON list of texts"):
        load_dss(tmp_path, SVAMP, "train")
    with pytest.raises(DataError, match=r"no reader for .* task other"):
        load_dss(tmp_path, Task(name="other", fields=["a"], template="{{a}}"), "train")


def test_the_real_archive(real_data: Path) -> None:
    examples, report = load_dss(real_data / "dss", SVAMP, "train")
    assert (len(examples), report.without_rationale, report.dropped) == (800, 13, 0)
    teacher, report = load_dss(real_data / "dss", SVAMP, "train", labels="teacher")
    assert (len(teacher), report.without_rationale, report.dropped) == (787, 0, 13)
    gold = [example for example in examples if example.rationale is not None]
    right = sum(SVAMP.is_right(t.label, g.label) for t, g in zip(teacher, gold, strict=True))
    assert right == 594
    assert len(load_dss(real_data / "dss", SVAMP, "test")[0]) == 100
