import json
from pathlib import Path
from typing import Any

import pytest

from tasks.builtin import TASKS
from tests.support.fake_teacher import lines
from training.annotation.answer import Annotation
from training.annotation.answer_store import AnswerStore
from training.annotation.completion import Completion
from training.annotation.dialogue import Dialogue, Failure
from training.annotation.prompt import Prompt
from training.annotation.results import Result, ResultFiles, keys_of_failures, results
from training.annotation.rows import Rows
from training.data.load import load_rows
from training.data.row import DataError
from training.data.sources import Columns, FilesSource

SVAMP = TASKS["svamp"]
PROMPT = Prompt(instructions="Solve it.", question="{{ text }}")
RECORDS: list[dict[str, Any]] = [
    {"text": "Ada has 3 and gets 4. How many?", "label": "( 3 + 4 )", "id": 7},
    {"text": "Ben has 9 and loses 2. Wie viele — „wie“?", "label": None, "note": "half: \ud83d"},
    {"text": "Cleo has 1. How many?", "label": "( 1 )"},
]
FINE, OTHER = (Completion(f"{n}.\nAnswer: {n}", "stop") for n in ("3 + 4", "3 * 4"))
MUTE = Completion("I do not know.", "stop")


class Teacher:
    """Rows in a file, a dialogue about them, and the answers so far."""

    def __init__(self, folder: Path, samples: int = 1, *, given_label: bool = False) -> None:
        self.path = folder / "rows.jsonl"
        self.path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
        self.samples = samples
        self.dialogue = Dialogue(SVAMP, PROMPT, "m", {}, as_json=False, given_label=given_label)
        self.rows = Rows(self.path, SVAMP, {}, given_label, None)
        self.kept: dict[str, Completion] = {}
        self.unanswered: dict[str, str] = {}

    def get(self, key: str) -> Completion | None:
        return self.kept.get(key)

    def answer(self, number: int, *answers: Completion, sample: int = 0) -> None:
        for answer in answers:
            self.kept[self.following(number, sample)] = answer

    def following(self, number: int, sample: int = 0) -> str:
        row = list(self.rows)[number].row
        following = self.dialogue.exchange(row, sample, self.get).following
        assert following is not None
        return following.key

    def results(self) -> list[Result]:
        store: AnswerStore = self
        return list(results(self.rows, SVAMP, self.samples, self.dialogue, store, self.unanswered))


def test_every_row_has_its_result_in_order(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path)
    assert [result.outcome for result in teacher.results()] == [None] * 3
    teacher.answer(0, FINE)
    teacher.answer(1, MUTE)
    assert [result.outcome for result in teacher.results()] == [
        Annotation("3 + 4", ("3 + 4.",), 1.0),
        None,  # the teacher is to be told what was wrong
        None,
    ]
    teacher.answer(1, MUTE)
    teacher.unanswered[teacher.following(2)] = "no answer in time"
    reason = 'answer without a line that begins with "Answer:"'
    assert [result.outcome for result in teacher.results()][1:] == [
        Failure(reason, "I do not know."),
        Failure("unanswered: no answer in time", None),
    ]


def test_a_row_has_a_result_once_all_samples_have(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path, samples=3)
    teacher.answer(0, FINE)
    teacher.answer(0, OTHER, sample=1)
    assert teacher.results()[0].outcome is None
    teacher.answer(0, MUTE, OTHER, sample=2)
    assert teacher.results()[0].outcome == Annotation("3 * 4", ("3 * 4.",), 2 / 3)


def test_only_rows_that_failed_are_asked_anew(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path, samples=2)
    for sample in (0, 1):
        teacher.answer(0, MUTE, MUTE, sample=sample)
    failed = set(teacher.kept)
    teacher.answer(1, FINE)
    teacher.answer(1, MUTE, MUTE, sample=1)  # of a row that has a result by its other sample
    teacher.answer(2, MUTE)  # and one that is not done
    assert keys_of_failures(teacher.results()) == failed
    assert len(failed) == 4


def write(
    folder: Path,
    found: list[Result],
    columns: Columns | None = None,
    *,
    several: bool = False,
    label_given: bool = False,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    out, failed = folder / "out.jsonl", folder / "out.failed.jsonl"
    files = ResultFiles(out, failed, columns or {}, several=several, label_given=label_given)
    with files.writing(found) as passed_on:
        assert list(passed_on) == found
    return lines(out), lines(failed)


def test_files_have_the_rows_as_they_were_and_what_the_teacher_says(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path)
    teacher.answer(0, FINE)
    teacher.answer(1, OTHER)
    teacher.answer(2, MUTE, MUTE)
    annotated, failed = write(tmp_path, teacher.results())
    assert annotated == [
        RECORDS[0] | {"rationale": "3 + 4.", "teacher_label": "3 + 4", "label_given": False},
        RECORDS[1] | {"rationale": "3 * 4.", "teacher_label": "3 * 4", "label_given": False},
    ]
    reason = 'answer without a line that begins with "Answer:"'
    assert failed == [RECORDS[2] | {"failed": {"reason": reason, "answer": "I do not know."}}]
    assert not list(tmp_path.glob("*.part"))
    text = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert "has 3 and gets 4" in text


def test_letters_are_written_as_such(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path)
    teacher.path.write_text('{"text": "Wie viele — „wie“?"}\n', encoding="utf-8")
    teacher.answer(0, Completion("Weil „so“.\nAnswer: 3 + 4"))
    write(tmp_path, teacher.results())
    assert "Wie viele — „wie“?" in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


def test_samples_are_told_of_by_their_agreement_and_rationales(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path, samples=3)
    teacher.answer(0, FINE)
    teacher.answer(0, Completion("4 + 3.\nAnswer: 4 + 3", "stop"), sample=1)
    teacher.answer(0, OTHER, sample=2)
    [annotated], _ = write(tmp_path, teacher.results()[:1], several=True)
    assert annotated == RECORDS[0] | {
        "rationale": ["3 + 4.", "4 + 3."],
        "teacher_label": "3 + 4",
        "agreement": 0.6667,
        "label_given": False,
    }


def test_a_given_label_is_marked_and_is_none_of_the_teachers(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path, given_label=True)
    teacher.answer(0, FINE)
    annotated, failed = write(tmp_path, teacher.results(), label_given=True)
    assert annotated == [RECORDS[0] | {"rationale": "3 + 4.", "label_given": True}]
    assert [row["failed"]["reason"] for row in failed] == ["row without a label to explain"]
    # a student of such rows learns no teacher's labels
    source = FilesSource(format="jsonl", train=tmp_path / "out.jsonl")
    (row,), report = load_rows(source, SVAMP)
    assert (row.teacher_label, row.label_given, row.rationales) == (None, True, ("3 + 4.",))
    assert "rationale of a label that the teacher was told" in str(report)


def test_what_an_earlier_run_wrote_goes(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path)
    earlier = {
        "rationale": "Old.",
        "teacher_label": "9",
        "agreement": 0.4,
        "label_given": True,
        "failed": {"reason": "empty answer", "answer": ""},
    }
    own = {"failed": "three times"}  # a column of the user's
    records = [RECORDS[0] | earlier, RECORDS[2] | own]
    teacher.path.write_text("".join(json.dumps(record) + "\n" for record in records))
    teacher.answer(0, FINE)
    teacher.answer(1, FINE)
    annotated, _ = write(tmp_path, teacher.results())
    said = {"rationale": "3 + 4.", "teacher_label": "3 + 4", "label_given": False}
    assert annotated == [RECORDS[0] | said, RECORDS[2] | own | said]


def test_columns_have_the_names_that_a_recipe_gives_them(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path)
    teacher.answer(0, FINE)
    columns: Columns = {"teacher_label": "llm_answer", "rationale": "why"}
    [annotated], _ = write(tmp_path, teacher.results()[:1], columns)
    assert annotated == RECORDS[0] | {"why": "3 + 4.", "llm_answer": "3 + 4", "label_given": False}
    source = FilesSource(format="jsonl", train=tmp_path / "out.jsonl", columns=columns)
    (row,), _ = load_rows(source, SVAMP)
    assert (row.teacher_label, row.rationales) == ("3 + 4", ("3 + 4.",))
    with pytest.raises(
        DataError, match=r"data\.columns\.rationale: expected one column for the teacher's"
    ):
        write(tmp_path, [], {"rationale": ["why_1", "why_2"]})


def test_files_that_are_there_stay_until_the_new_ones_are_whole(tmp_path: Path) -> None:
    teacher = Teacher(tmp_path)
    teacher.answer(0, FINE)
    before = write(tmp_path, teacher.results())
    files = ResultFiles(
        tmp_path / "out.jsonl", tmp_path / "out.failed.jsonl", {}, several=False, label_given=False
    )

    def stopped() -> Any:
        with files.writing(teacher.results()) as passed_on:
            next(passed_on)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert (lines(tmp_path / "out.jsonl"), lines(tmp_path / "out.failed.jsonl")) == before
