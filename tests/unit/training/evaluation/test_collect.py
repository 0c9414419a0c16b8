import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tasks.builtin import TASKS
from tasks.task import Task
from tests.support.simple_problems import write_problems
from training.evaluation.collect import collect
from training.evaluation.labelled import LabelledRow, from_file
from training.evaluation.model import ModelError
from training.evaluation.predictions import read_predictions, read_run
from training.evaluation.record import Record

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

    def answers(self, rows: Iterable[LabelledRow]) -> Iterator[Record]:
        for row in rows:
            if row.index == self.fails_at:
                raise ModelError("it fails")
            self.asked += 1
            truncated = row.index % 3 == 0
            yield Record.of(self.task, row, row.text[-1], 0.5, None, row.text, truncated)


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
    collect(finished, replace(data, warning="1 row is"), tmp_path, source="echo")
    assert finished.asked == 0  # the same rows
    assert read_run(tmp_path)["data"]["warning"] == "1 row is"


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
