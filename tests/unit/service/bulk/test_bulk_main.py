import json
from pathlib import Path
from typing import Any

import pytest

from service.bulk.__main__ import main
from tests.support.bundles import copy_bundle
from tests.support.command_errors import complaint_of


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(*arguments: object) -> int:
    return main([*map(str, arguments)])


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    return complaint_of([*map(str, arguments)], capsys, main, "batch").removeprefix("batch: ")


def test_a_wrong_row_has_its_record_and_stops_nothing(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out"
    good = {"text": "Ann has 3 apples.", "id": 1}
    lines: list[Any] = [good, {"id": 2}, {"text": " ", "id": 3}, {"text": "many " * 500}, good]
    path.write_text("\n".join(["{", *map(json.dumps, lines)]))
    assert run("--input", path, "--output", out, "--model", tiny_bundle, "--keep", "id") == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"2 of 6 rows are answered, in {out}"
    assert told[1].startswith("4 failed (")
    assert "), the first in line 1. " in told[1]
    records = [json.loads(line) for line in (out / "part-00000.jsonl").read_text().splitlines()]
    assert [record.get("error_type") for record in records] == [
        *("invalid_json", None, "validation", "empty_input", "too_many_tokens", None)
    ]
    assert [record["line"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.get("row") for record in records] == [
        *(None, {"id": 1}, {"id": 2}, {"id": 3}, {"id": None}, {"id": 1})
    ]
    manifest = json.loads((out / "manifest.json").read_text())
    errors = {"empty_input": 1, "invalid_json": 1, "too_many_tokens": 1, "validation": 1}
    assert manifest["result"] == {"rows": 6, "errors": errors}


def test_another_input_or_model_is_refused_unless_forced(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "rows.csv", tmp_path / "out"
    path.write_text("text\none\n")
    job = ("--input", path, "--output", out, "--model")
    assert run(*job, tiny_bundle) == 0
    before = contents(out)
    newer = copy_bundle(tiny_bundle, tmp_path / "newer", version="2")
    path.write_text("text\ntwo\n")
    refused = complaint(capsys, *job, newer)
    assert refused.startswith(f"--output: {out} belongs to another job: input.sha256: ")
    assert 'model.version: "1" → "2"' in refused
    assert contents(out) == before
    assert run(*job, newer, "--force") == 0
    assert contents(out)["part-00000.jsonl"] != before["part-00000.jsonl"]
    after, _ = contents(out), capsys.readouterr()
    assert run(*job, newer) == 0  # there is nothing left to do
    assert (contents(out), capsys.readouterr().err) == (after, "")


def test_what_cannot_begin_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("body\none\n")
    for arguments, message in (
        ((), "--input (DUET_INPUT): missing"),
        (("--input", tmp_path / "no.csv"), f"[Errno 2] No such file or directory: '{tmp_path}/no"),
        (("--input", path, "--model", tmp_path), f"{tmp_path}: not a bundle"),
        (
            ("--input", path),
            f"{path}: there is no 'text', but body; say where a field is with --columns "
            "FIELD=COLUMN",
        ),
        (("--input", path, "--columns", "body"), "--columns (DUET_COLUMNS): expected"),
    ):
        told = complaint(capsys, "--output", tmp_path / "out", *arguments)
        assert told.startswith(message)
    assert not (tmp_path / "out").exists()


def test_a_student_without_rationales_begins_no_job_that_explains(
    labels_only_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "rows.csv", tmp_path / "out"
    path.write_text("text\none\n")
    job = ("--input", path, "--output", out, "--model", labels_only_bundle)
    assert complaint(capsys, *job, "--explain") == (
        "--explain: plain was trained without rationales, so it gives labels only; leave --explain "
        "out, or give --model a bundle that explains"
    )
    assert not out.exists()
    assert run(*job) == 0
    assert "rationale" not in json.loads((out / "part-00000.jsonl").read_text())


def test_no_rows_are_no_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out"
    path.touch()
    assert run("--input", path, "--output", out) == 0
    assert capsys.readouterr().out == f"0 of 0 rows are answered, in {out}\n"


def test_logs_are_told_of_the_progress(
    tiny_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.bulk.progress.EVERY_SECONDS", -1.0)
    path = tmp_path / "rows.csv"
    path.write_text("text\none\ntwo\n")
    assert run("--input", path, "--output", tmp_path / "out", "--model", tiny_bundle) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("batch:  50% 1/2 [")
    assert second.startswith("batch: 100% 2/2 [")
    assert second.endswith("row/s]")
