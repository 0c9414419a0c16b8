import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.evaluation.predictions import OutputError, Predictions, read_predictions
from training.evaluation.record import Record

RECORD = Record(
    index=0,
    input={"text": "« é »\u2028?"},
    text="« é »\u2028?",
    gold="yes",
    label="no",
    right=False,
    exact=False,
    confidence=0.1 + 0.2,
    probabilities={"no": 0.1 + 0.2, "yes": 0.7},
    rationale="It is\nso.",
    reference=None,
    truncated=False,
    cluster="0",
)
RECORDS = [replace(RECORD, index=index) for index in range(10)]
RUN = {"model": {"source": "a", "sha256": "1"}, "data": {"source": "b", "sha256": "2"}}


def write(folder: Path, count: int = len(RECORDS)) -> Path:
    with Predictions(folder) as predictions:
        predictions.claim(RUN, force=False)
        for record in RECORDS[:count]:
            predictions.append(record)
    return folder / "predictions.jsonl"


def keep(folder: Path, multiple: int, total: int = 100) -> int:
    with Predictions(folder) as predictions:
        return predictions.keep_whole(multiple, total)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    write(tmp_path)
    assert [*read_predictions(tmp_path)] == RECORDS


@pytest.mark.parametrize(
    ("multiple", "total", "kept"), [(1, 100, 10), (4, 100, 8), (4, 10, 10), (16, 100, 0)]
)
def test_whole_multiples_stay(tmp_path: Path, multiple: int, total: int, kept: int) -> None:
    write(tmp_path)
    assert keep(tmp_path, multiple, total) == kept
    assert [*read_predictions(tmp_path)] == RECORDS[:kept]


@pytest.mark.parametrize("cut", [1, 2, 40, 90])
def test_a_half_written_line_goes(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert keep(tmp_path, 1) == 9
    with Predictions(tmp_path) as predictions:
        predictions.append(RECORDS[9])
    assert [*read_predictions(tmp_path)] == RECORDS


@pytest.mark.parametrize("line", [b"\0" * 30, b"{}", b"[1]", b"\xff", b"3"])
def test_what_is_no_record_goes_and_all_after_it(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:4], line, *lines[5:]]))
    assert keep(tmp_path, 1) == 4


def test_another_run_is_shown_and_refused(tmp_path: Path) -> None:
    write(tmp_path)
    other = {"model": {"source": "c", "sha256": "9"}, "data": RUN["data"]}
    with Predictions(tmp_path) as predictions:
        with pytest.raises(OutputError, match=r'model\.sha256: "1" → "9"\. Choose') as refused:
            predictions.claim(other, force=False)
        assert "source" not in str(refused.value)
        assert keep_count(tmp_path) == 10
        predictions.claim(other, force=True)
        assert keep_count(tmp_path) == 0
    assert json.loads((tmp_path / "run.json").read_text()) == other


def keep_count(folder: Path) -> int:
    return len([*read_predictions(folder)])


def test_the_same_elsewhere_is_the_same_run(tmp_path: Path) -> None:
    write(tmp_path)
    moved = {part: facts | {"source": "elsewhere"} for part, facts in RUN.items()}
    with Predictions(tmp_path) as predictions:
        predictions.claim(moved, force=False)
    assert keep(tmp_path, 1) == 10


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_records_of_nobody_are_refused(tmp_path: Path, content: str | None) -> None:
    write(tmp_path)
    (tmp_path / "run.json").unlink()
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with Predictions(tmp_path) as predictions, pytest.raises(OutputError, match="--force"):
        predictions.claim(RUN, force=False)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with (
        Predictions(tmp_path),
        pytest.raises(OutputError, match="another evaluation is writing it"),
        Predictions(tmp_path),
    ):
        pass
    keep(tmp_path, 1)  # and it is free again
