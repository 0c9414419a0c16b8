import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.builtin import TASKS
from tasks.task import Task
from tests.support.simple_problems import write_problems
from training.evaluation.collect import collect, record_of
from training.evaluation.labelled import LabelledRow, from_file
from training.evaluation.model import Answer, ModelError
from training.evaluation.predictions import read_predictions

SVAMP = TASKS["svamp"]


@dataclass
class Echo:
    """A model that answers with its input's last character; it fails at a row."""

    fails_at: int = -1
    asked: int = 0
    together: int = 4
    task: Task = SVAMP

    @property
    def identity(self) -> dict[str, str]:
        return {"kind": "echo"}

    def answers(self, rows: Iterable[LabelledRow]) -> Iterator[Answer]:
        for row in rows:
            if row.index == self.fails_at:
                raise ModelError("it fails")
            self.asked += 1
            yield Answer(row.text[-1], 0.5, None, row.text, row.index % 3 == 0)


def test_a_failed_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    write_problems(tmp_path / "a.jsonl", rows=30, seed=0)
    data = from_file(tmp_path / "a.jsonl", SVAMP)
    with pytest.raises(ModelError, match="it fails"):
        collect(Echo(fails_at=18), data, tmp_path, source="echo")
    again = Echo()
    collect(again, data, tmp_path, source="echo")
    assert again.asked == 30 - 16  # from the last multiple of 4 on
    records = [*read_predictions(tmp_path)]
    assert [record.index for record in records] == [*range(30)]
    assert [record.rationale for record in records] == [row.text for row in data.read()]
    finished = Echo()
    collect(finished, data, tmp_path, source="echo")
    assert finished.asked == 0


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks = []
    for rows in (250, 5_000):
        path = tmp_path / f"{rows}.jsonl"
        line = '{"text": "%d pens and %d more. How many?", "label": "%d + 1", "rationale": "So."}\n'
        path.write_text("".join(line % (i, i, i) for i in range(rows)))
        folder = tmp_path / str(rows)
        folder.mkdir()
        tracemalloc.start()
        collect(Echo(), from_file(path, SVAMP), folder, source="echo")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sum(1 for _ in read_predictions(folder)) == rows
    assert peaks[1] < 1.5 * peaks[0] + 2**20


def test_labels_are_judged_as_the_task_judges() -> None:
    row = LabelledRow(3, "a, line 4", {"text": "a"}, "a", "( 1 + 2 )", "One.", "c")
    record = record_of(SVAMP, row, Answer("2 + 1", 0.25, None, "Two.", True))
    assert (record.right, record.exact) == (True, False)
    assert (record.index, record.reference, record.cluster) == (3, "One.", "c")
    assert record.truncated
    record = record_of(SVAMP, row, Answer(" ( 1 + 2 )", 0.25, None, "Two.", False))
    assert (record.right, record.exact) == (True, True)
    assert not record_of(SVAMP, row, Answer("1", 0.25, None, "Two.", False)).right
