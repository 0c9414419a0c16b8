"""What may be given as `--models`, and what each mistake is told."""

from pathlib import Path

import pytest

from export.bundle import BundleError
from service.folders import Offered, find_bundles, name_bundles
from tests.support.bundles import copy_bundle


@pytest.fixture
def models(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `models` of the current one. It has the bundles `a` and `b`."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        copy_bundle(tiny_bundle, tmp_path / "models" / name, name=name)
    return Path("models")


def write(path: str, text: str = "") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def complaint(root: str) -> str:
    with pytest.raises(BundleError) as raised:
        find_bundles([Path(root)])
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_an_alias_takes_a_bundle_out_of_its_folder(models: Path) -> None:
    a, b = models / "a", models / "b"
    assert find_bundles([models, Path("other=models/b")]) == [Offered(a), Offered(b, "other")]
    assert name_bundles([Path("b=models/a"), Path("a=models/b")]) == {
        "b": Offered(a, "b"),
        "a": Offered(b, "a"),
    }
    assert [*name_bundles([Path("one=models/a"), Path("two=models/a")])] == ["one", "two"]


def test_a_folder_with_an_equals_sign_is_a_folder(models: Path, tiny_bundle: Path) -> None:
    odd = copy_bundle(tiny_bundle, Path("x=models/a"))
    assert find_bundles([odd]) == [Offered(odd)]
    assert find_bundles([Path("models/../x=models/a")]) == [Offered(Path("models/../x=models/a"))]


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (
            "my model=models/a",
            "expected NAME=FOLDER with a NAME of ASCII letters, digits, dots, dashes and "
            "underscores, got 'my model'",
        ),
        ("=models/a", "expected NAME=FOLDER with a NAME of"),
        (
            "x=models",
            "not a bundle, but a folder of bundles (a, b); one name is for one bundle: --models "
            "x=models/a",
        ),
    ],
)
def test_an_alias_that_is_none(models: Path, root: str, expected: str) -> None:
    assert complaint(root).startswith(f"{root}: {expected}")


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (
            "runs/mine",
            "a checkpoint; export it first: make export CHECKPOINT=runs/mine BUNDLE=bundles/mine",
        ),
        (
            "runs",
            "a folder of checkpoints (mine); export one first: make export CHECKPOINT=runs/mine "
            "BUNDLE=bundles/mine",
        ),
        ("stopped", "a training that has not ended; make distill goes on with it"),
        ("t5", "a model of transformers; make distill trains a student from it (model: t5 in the"),
        ("mine.yaml", "a recipe; make distill RECIPE=mine.yaml trains its student, and make"),
        ("rows.jsonl", "a file; expected a folder that make export wrote"),
        ("models/a/manifest.json", "a file of one; give its folder, models/a"),
        ("empty", "an empty folder; make export writes a bundle"),
    ],
)
def test_what_is_no_bundle_is_told_what_it_is(models: Path, root: str, expected: str) -> None:
    for file in ("runs/mine/student.json", "runs/mine/config.json", "runs/mine/recipe.json"):
        write(file)
    for file in ("stopped/recipe.json", "t5/config.json", "mine.yaml", "rows.jsonl"):
        write(file)
    Path("empty").mkdir()
    assert complaint(root).startswith(f"{root}: not a bundle, but {expected}")


def test_a_folder_that_is_not_there(models: Path) -> None:
    assert complaint("models/typo") == (
        "models/typo: not a bundle, there is no such folder; make export writes a bundle"
    )
    assert complaint("google/flan-t5-small") == (
        "google/flan-t5-small: not a bundle, there is no such folder; a model of the hub is "
        "distilled first: make distill; then make export writes a bundle"
    )
