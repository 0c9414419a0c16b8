"""Everything that can be wrong is said before anything is trained, in one line."""

import asyncio
import shutil
from pathlib import Path

import pytest

from duet.refresh.__main__ import main
from duet.refresh.checks import check_served
from duet.refresh.running_service import RunningService
from export.replacing import kept_beside
from export.verify import read_manifest
from service.registry import Registry
from tasks.durable_files import open_locked
from tests.support.bundles import copy_bundle
from tests.support.corrupt_bundles import flip_a_bit
from tests.support.no_torch import no_torch
from tests.support.programs import run
from tests.support.refreshes import KEY, prepare
from tests.support.seeded_rows import write_rows
from tests.support.simple_problems import RECIPE
from tests.support.tiny_students import answers, problems

__all__ = ["no_torch"]  # a fixture


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key, rows to compare on, and a recipe of the bundle's own task."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUET_ADMIN_KEY", KEY)
    pairs = zip(problems(20), answers(20), strict=True)
    write_rows(Path("rows.jsonl"), [{"text": text, "label": label} for text, (label, _) in pairs])
    recipe = RECIPE.read_text(encoding="utf-8").replace("name: word-problems", "name: tiny")
    task = "task: {name: problems, fields: [text], template: '{{text}}', answer: arithmetic}"
    Path("recipe.yaml").write_text(recipe.replace("task: svamp", task), encoding="utf-8")


def command(bundle: Path, url: str, *more: str) -> list[str]:
    """The command's arguments. A later one of `more` replaces an earlier one."""
    here = Path.cwd()
    base = [f"{here}/recipe.yaml", "--checkpoint", f"{here}/new", "--data", f"{here}/rows.jsonl"]
    return [*base, "--bundle", str(bundle), "--url", url, *more]


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says when it refuses to begin."""
    assert main(arguments) == 2
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith("refresh: ")
    assert error.count("\n") == 1
    assert not Path("new").exists()
    return error.removeprefix("refresh: ").rstrip("\n")


def test_all_is_well_before_torch_is_needed(
    bundle: Path, url: str, tmp_path: Path, no_torch: str
) -> None:
    done = run("duet", "refresh", *command(bundle, url), PYTHONPATH=no_torch, DUET_ADMIN_KEY=KEY)
    new = tmp_path / "new"
    assert done.stdout.splitlines() == [
        f"refresh: tiny, version 1, is served at {url} from {bundle}",
        f"refresh: 7 steps; what they print is in {new / 'refresh.log'}",
        f"refresh: 1. distil {tmp_path / 'recipe.yaml'} into {new}",
    ]
    assert done.returncode == 2
    assert done.stderr == (
        f"refresh: the step failed with status 2, see {new / 'refresh.log'}: "
        "duet distill: torch is missing: pip install '.[training]'\n"
    )


def test_a_key_comes_first(
    bundle: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DUET_ADMIN_KEY")
    assert complaint(command(bundle, url), capsys).startswith("DUET_ADMIN_KEY: expected one of")
    monkeypatch.setenv("DUET_ADMIN_KEY", "guess")
    assert complaint(command(bundle, url), capsys) == (
        f"{url}: this service does not know the key, or the key may not do this; DUET_ADMIN_KEY "
        "must be one of the service's DUET_ADMIN_KEYS"
    )


def test_a_service_that_is_not_there(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(command(bundle, "http://127.0.0.1:9"), capsys)
    assert said.startswith("http://127.0.0.1:9: no service can be reached (")
    assert said.endswith("; start one, or name its address by URL=… (--url)")


def test_no_bundle(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(command(Path("bundles/mine"), url), capsys) == (
        "bundles/mine: there is no bundle yet, and so nothing to compare with; make the first one "
        "by make distill and make export BUNDLE=bundles/mine, and serve it"
    )
    Path("empty").mkdir()
    said = complaint(command(Path("empty"), url), capsys)
    assert said.startswith("empty: not a bundle, but an empty folder; make export")


def test_a_bundle_that_was_changed(
    bundle: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_a_bit("decoder.onnx")(bundle)
    said = complaint(command(bundle, url), capsys)
    assert said.startswith(f"{bundle}/decoder.onnx: its SHA-256 is not the manifest's")


def test_two_refreshes_at_once(bundle: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_locked(bundle.with_name(".mine.lock")):
        assert complaint(command(bundle, url), capsys) == (
            f"{bundle}: another refresh of it is running; wait for its end"
        )


def test_a_model_that_the_service_does_not_know(
    bundle: Path, url: str, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = copy_bundle(tiny_bundle, Path("other"), name="other")
    assert complaint(command(other, url), capsys) == (
        f"{url}: has no model named other, and no bundle of that name in its model folders (it has "
        "tiny); start it with --models other, or give the name that it serves the bundle under by "
        "NAME=… (--name)"
    )
    said = complaint(command(bundle, url, "--name", "alias"), capsys)
    assert said.startswith(f"{url}: has no model named alias")


def test_a_model_that_comes_from_another_folder(
    bundle: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(bundle, "copy"))
    assert complaint(command(copy, url), capsys) == (
        f"{url}: has tiny from {bundle}, not from copy; give that folder by BUNDLE=… (--bundle)"
    )


def test_a_bundle_that_was_not_loaded(
    bundle: Path, url: str, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(bundle)
    copy_bundle(tiny_bundle, bundle, version="2")
    assert complaint(command(bundle, url), capsys) == (
        f"{url}: serves version 1 of tiny, which is not the bundle in {bundle} (version 2); give "
        "the bundle that it serves by BUNDLE=… (--bundle), or load this one first: curl -X POST "
        f'{url}/admin/models/tiny/load -H "x-api-key: $DUET_ADMIN_KEY"'
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (None, "expected a file of labelled rows that no student was trained on"),
        ("", "no row can be used"),
        ('{"text": "a"}', "line 1: "),
        ('{"label": "a"}', "line 1: "),
        ("{", "line 1: "),
    ],
)
def test_rows_that_cannot_be_compared_on(
    rows: str | None, expected: str, bundle: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if rows is None:
        Path("rows.jsonl").unlink()
    else:
        Path("rows.jsonl").write_text(rows)
    said = complaint(command(bundle, url), capsys)
    assert said.startswith(str(Path("rows.jsonl").absolute()))
    assert expected in said


def test_rows_with_the_columns_of_the_recipe(
    bundle: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stages that compare read them, too."""
    recipe = Path("recipe.yaml").read_text(encoding="utf-8")
    columns = "data:\n  columns: {text: question, label: team}\n"
    Path("recipe.yaml").write_text(recipe.replace("data:\n", columns), encoding="utf-8")
    there = "if its name is another, name it by data.columns of the recipe"
    assert complaint(command(bundle, url), capsys).endswith(
        f'rows.jsonl, line 1: no "question"; there is text, label; {there}'
    )
    pairs = zip(problems(20), answers(20), strict=True)
    rows = [{"question": text, "team": label} for text, (label, _) in pairs]
    write_rows(Path("rows.jsonl"), rows)
    prepare(monkeypatch, bundle)
    monkeypatch.setattr("duet.refresh.__main__.same_student", lambda *_: False)
    assert main(command(bundle, url)) == 0
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith("refresh: not significantly worse: ") for line in said), said


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("name: tiny", "name: other", "its student is named other, but the bundle in "),
        ("answer: arithmetic", "answer: null", "task.answer is None, but 'arithmetic' in the"),
        ("name: problems", "name: others", "task.name is 'others', but 'problems' in the bundle"),
        ("steps: 150", "steps: many", "steps"),
    ],
)
def test_a_recipe_of_something_else(
    before: str,
    after: str,
    expected: str,
    bundle: Path,
    url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = Path("recipe.yaml").read_text(encoding="utf-8")
    Path("recipe.yaml").write_text(recipe.replace(before, after), encoding="utf-8")
    said = complaint(command(bundle, url), capsys)
    assert said.startswith(str(Path("recipe.yaml").absolute()))
    assert expected in said


def test_a_recipe_that_is_not_there(
    bundle: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("recipe.yaml").unlink()
    assert "recipe.yaml" in complaint(command(bundle, url), capsys)


@pytest.mark.parametrize("state", ["new", "unloaded", "elsewhere"])
def test_what_is_found_in_order(
    state: str,
    bundle: Path,
    url: str,
    registry: Registry,
    tiny_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bundle that was never loaded, one that was unloaded, one in a container."""
    name = "tiny"
    if state == "new":
        name, bundle = "new", copy_bundle(tiny_bundle, bundle.with_name("new"), name="new")
    elif state == "unloaded":
        asyncio.run(registry.unload_model("tiny"))
    else:
        registry._folders["tiny"] = Path("/in/a/container")
    service = RunningService(url, KEY)
    source = check_served(service, name, bundle, read_manifest(bundle))
    assert source.name == name
    assert (source.checksum is None) == (state != "elsewhere")
    service.close()


def test_a_killed_replacement_is_undone(
    bundle: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the renames there is no bundle. Nothing else is right here, so the command ends."""
    checksum = read_manifest(bundle).checksum
    bundle.rename(kept_beside(bundle))
    assert main(command(bundle, url, "--data", "nothing.jsonl")) == 2
    assert capsys.readouterr().out == (
        f"refresh: an earlier refresh was killed while it replaced {bundle}; the old bundle is "
        "back\n"
    )
    assert read_manifest(bundle).checksum == checksum
    assert not kept_beside(bundle).exists()


def test_a_replacement_that_was_never_loaded_is_undone(
    bundle: Path, url: str, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checksum = read_manifest(bundle).checksum
    bundle.rename(kept_beside(bundle))
    copy_bundle(tiny_bundle, bundle, version="2")
    assert main(command(bundle, url, "--data", "nothing.jsonl")) == 2
    assert capsys.readouterr().out == (
        "refresh: an earlier refresh was killed before the service loaded version 2; version 1, "
        f"which it serves, is in {bundle} again\n"
    )
    assert read_manifest(bundle).checksum == checksum
    assert not kept_beside(bundle).exists()
