import hashlib
import json
from pathlib import Path

import pytest

from service.bulk.rows import open_input
from service.bulk.survey import survey


def test_a_survey_tells_where_shards_begin(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"« {n} »"}) for n in range(4)))
    file = open_input(path)
    places = list(file.places())
    found = survey(file, 3)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.rows, found.begins) == (4, [places[0], places[3]])
    assert [found.size(0), found.size(1)] == [3, 1]
    assert survey(file, 4).begins == [places[0]]


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl", ""), ("a.jsonl", "\n \n"), ("a.csv", "text\n")]
)
def test_a_file_without_rows_has_no_shards(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    found = survey(open_input(tmp_path / name), 3)
    assert (found.rows, found.begins) == (0, [])
