import json
import shutil
from pathlib import Path

import pytest

from export.bundle import DRAFT, GOLDEN, MANIFEST, BundleError, Manifest
from export.verify import seal
from service.engine.engine import Engine
from tests.support.bundles import TASK, write_bundle
from tests.support.corrupt_bundles import TAMPERINGS
from tests.support.tiny_students import Student


def test_a_bundle_whose_drafts_cannot_be_read_is_refused(tmp_path: Path, student: Student) -> None:
    manifest = write_bundle(tmp_path / "bundle", student)
    (tmp_path / "bundle" / DRAFT).write_bytes(b"no drafts")
    seal(tmp_path / "bundle", manifest)
    with pytest.raises(BundleError, match=r"draft\.bin: not a table of drafts"):
        Engine.load(tmp_path / "bundle", threads=1, max_rows=2)


@pytest.mark.parametrize("part", ["label", "rationale"])
def test_a_bundle_that_gives_something_else_is_refused(
    part: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    golden = json.loads((folder / GOLDEN).read_text())
    golden[1][part] = "something else"
    (folder / GOLDEN).write_text(json.dumps(golden))
    seal(folder, Manifest.model_validate_json((folder / MANIFEST).read_bytes()))
    with pytest.raises(BundleError, match=rf"golden\.json.* the {part} 'something else', but"):
        Engine.load(folder, threads=1, max_rows=2)


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampered_bundle_is_refused(name: str, drafting_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(drafting_bundle, folder)
    tamper, message = TAMPERINGS[name]
    tamper(folder)
    with pytest.raises(BundleError, match=message):
        Engine.load(folder, threads=1, max_rows=2)


def test_a_bundle_without_golden_examples_must_take_a_first_run(
    tmp_path: Path, student: Student
) -> None:
    task = TASK.model_copy(update={"template": "{{text / 2 if text == '…' }}"})
    write_bundle(tmp_path / "bundle", student, task=task)
    with pytest.raises(
        BundleError, match=r"golden\.json: \{'text': '…'\}: the template of problem"
    ):
        Engine.load(tmp_path / "bundle", threads=1, max_rows=2)


def test_a_bundle_whose_template_fails_is_refused(tmp_path: Path, student: Student) -> None:
    task = TASK.model_copy(update={"template": "{{text"})
    write_bundle(tmp_path / "bundle", student, task=task)
    with pytest.raises(BundleError, match="template"):
        Engine.load(tmp_path / "bundle", threads=1, max_rows=1)
