import json
from collections import Counter
from pathlib import Path

import pytest

from service.bulk.shards import MANIFEST, Output, OutputError, Run, Tally
from service.bulk.survey import Survey
from tasks.row_files import Place

RUN: Run = {"input": {"source": "a.jsonl", "sha256": "1"}, "settings": {"explain": True}}
SURVEY = Survey("1", rows=5, shard_rows=2, begins=[Place(0, 1), Place(9, 3), Place(18, 5)])


def record(line: int, error_type: str | None = None) -> bytes:
    content = {"line": line, "label": '"error_type": in a text'}
    if error_type is not None:
        content = {"line": line, "error": "…", "error_type": error_type}
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def write(output: Output, shard: int, *records: bytes) -> None:
    with output.writing(shard) as file:
        file.writelines(records)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_shard_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with Output(tmp_path / "a" / "out") as output:
        output.claim(RUN, force=False)
        write(output, 0, record(1), record(2, "validation"))
        write(output, 2, record(5, "empty_input"))
        with pytest.raises(TypeError):
            write(output, 1, record(3), None)  # type: ignore[arg-type]
        assert names(output.folder) == [MANIFEST, "part-00000.jsonl", "part-00002.jsonl"]
        assert output.finished(SURVEY) == {
            0: Tally(2, Counter(validation=1), 2),
            2: Tally(1, Counter(empty_input=1), 5),
        }


def test_tallies_add_up() -> None:
    tally = Tally()
    tally.add(Tally(2, Counter(validation=1), 7))
    tally.add(Tally(3))
    tally.add(Tally(2, Counter(validation=1, invalid_json=1), 3))
    assert tally == Tally(7, Counter(validation=2, invalid_json=1), 3)


def test_a_shard_that_was_changed_is_told(tmp_path: Path) -> None:
    with Output(tmp_path) as output:
        write(output, 0, record(1))
        with pytest.raises(OutputError, match="was changed: it has 1 records, but should have 2"):
            output.finished(SURVEY)


def test_one_job_writes_at_a_time(tmp_path: Path) -> None:
    with (
        Output(tmp_path),
        pytest.raises(OutputError, match="another job is writing"),
        Output(tmp_path),
    ):
        pass
    with Output(tmp_path):
        pass


def test_another_job_is_shown_and_refused_unless_forced(tmp_path: Path) -> None:
    other: Run = {"input": {"source": "b.jsonl", "sha256": "2"}, "settings": {"explain": False}}
    with Output(tmp_path) as output:
        output.claim(RUN, force=False)
        output.claim(other, force=False)  # there is nothing to lose
        write(output, 0, record(1), record(2))
        (tmp_path / "part-00001.jsonl.abc.part").touch()  # as a killed process leaves it
        moved: Run = {**other, "input": {**other["input"], "source": "moved.jsonl"}}
        output.claim(moved, force=False)
        assert names(tmp_path) == [MANIFEST, "part-00000.jsonl"]
        with pytest.raises(OutputError) as error:
            output.claim(RUN, force=False)
        assert 'input.sha256: "2" → "1"; settings.explain: false → true. Choose' in str(error.value)
        assert list(output.finished(SURVEY)) == [0]
        output.claim(RUN, force=True)
        assert names(tmp_path) == [MANIFEST]
        assert json.loads((tmp_path / MANIFEST).read_bytes()) == RUN


def test_shards_of_an_unknown_job_are_not_touched(tmp_path: Path) -> None:
    with Output(tmp_path) as output:
        write(output, 0, record(1), record(2))
        for content in (None, "{", "[]"):
            if content is not None:
                (tmp_path / MANIFEST).write_text(content)
            with pytest.raises(OutputError, match=r"manifest\.json cannot be read"):
                output.claim(RUN, force=False)
