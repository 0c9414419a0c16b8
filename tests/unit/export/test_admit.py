"""The command: a bundle that the gate has admitted takes the place of the one in use."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from export import admit, bundle, convert, verify
from tests.support.bundles import copy_bundle
from tests.support.checkpoints import contents, names
from tests.support.tiny_students import answers, problems
from training.evaluate import main as evaluate

ROWS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, learned: Path) -> Path:
    """The bundles `random` and `learned`, and evaluations of both on rows that one knows."""
    folder = tmp_path_factory.mktemp("admit")
    pairs = zip(problems(ROWS), answers(ROWS), strict=True)
    lines = [json.dumps({"input": text, "label": label}) for text, (label, _) in pairs]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    for name, source, version in (("random", checkpoint, "1"), ("learned", learned, "2")):
        out = str(folder / name)
        assert convert.main([str(source), "--out", out, "--version", version]) == 0
        data = ["--data", str(folder / "rows.jsonl")]
        assert evaluate([out, *data, "--out", str(folder / f"{name}-evaluation")]) == 0
    assert compare(folder, "learned", "random") == 0
    return folder


def compare(folder: Path, new: str, old: str) -> int:
    evaluations = [str(folder / f"{name}-evaluation") for name in (new, old)]
    out = folder / f"{new}-{old}"
    return evaluate(["--compare", *evaluations, "--gate", "--out", str(out)])


@pytest.fixture
def out(folder: Path, tmp_path: Path) -> Path:
    """A copy of `random`, in use."""
    return Path(shutil.copytree(folder / "random", tmp_path / "bundles" / "tiny"))


def arguments(folder: Path, out: Path, new: str = "learned", old: str = "random") -> list[str]:
    verdict = folder / f"{new}-{old}" / "verdict.json"
    return [str(folder / new), "--verdict", str(verdict), "--out", str(out)]


def test_a_bundle_that_is_not_worse_replaces_the_other(folder: Path, out: Path) -> None:
    first, new = verify.read(out).manifest, contents(folder / "learned")
    assert first.provenance.gate == {}
    assert "Beside the bundle before" not in (out / bundle.MODEL_CARD).read_text()
    assert admit.main(arguments(folder, out)) == 0

    second = verify.read(out).manifest
    measured = second.provenance.gate
    assert second.version == "2"
    assert (measured["accuracy"], measured["old_accuracy"]) == (1.0, 0.0)
    assert (measured["rows"], measured["data"]) == (20, "rows.jsonl")
    assert measured["against"] == "tiny, version 1"
    assert measured["against_checksum"] == first.checksum
    run = json.loads((folder / "learned-evaluation" / "run.json").read_text())
    assert measured["data_sha256"] == run["data"]["sha256"]
    card = (out / bundle.MODEL_CARD).read_text()
    for expected in (
        "## Beside the bundle before",
        f"It was compared with tiny, version 1 (manifest checksum `{first.checksum[:12]}`), on the",
        "| accuracy | 100.0 % | 0.0 % | +100.0 points, +67.8 to +100.0, p = 1.9e-06 |",
        f"| healthy rationales | {100 * measured['healthy']:.1f} % | ",
        "--version 2 --precision fp32\n",
    ):
        assert expected in card
    assert "{{" not in card
    changed = {bundle.MANIFEST, bundle.MODEL_CARD}
    now = contents(out)
    assert now.keys() == new.keys()
    assert {name for name in now if now[name] != new[name]} == changed
    assert contents(folder / "learned") == new
    assert names(out.parent) == [".tiny.before", "tiny"]
    assert contents(out.parent / ".tiny.before") == contents(folder / "random")


def test_a_section_on_an_earlier_gate_is_replaced(folder: Path, out: Path, tmp_path: Path) -> None:
    assert admit.main(arguments(folder, out)) == 0
    once = contents(out)
    verdict = json.loads((folder / "learned-random" / "verdict.json").read_text())
    verdict["new"]["checksum"] = verdict["old"]["checksum"] = verify.read(out).manifest.checksum
    (tmp_path / "verdict.json").write_text(json.dumps(verdict | {"old": verdict["new"]}))
    again = [str(out), "--verdict", str(tmp_path / "verdict.json"), "--out", str(out)]
    assert admit.main(again) == 0
    assert contents(out.parent / ".tiny.before") == once  # in place of the one before
    assert names(out.parent) == [".tiny.before", "tiny"]
    card = (out / bundle.MODEL_CARD).read_text()
    assert card.count("## Beside the bundle before") == 1
    assert "compared with tiny, version 2" in card
    assert card.startswith(once[bundle.MODEL_CARD].decode().partition("## Beside")[0])


def test_a_worse_bundle_leaves_the_one_in_use(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(folder / "learned", tmp_path / "bundles" / "tiny"))
    old = contents(out)
    assert compare(folder, "random", "learned") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    worse = (
        "significantly worse in label accuracy (100 points lower) and in rationale health (65 "
        "points lower): accuracy 0.0% against 100.0% (-100.0 points, 95 % interval "
    )
    assert error.startswith(f"evaluate: {worse}")
    assert "; more faults: only a label, or nothing, " in error
    assert admit.main(arguments(folder, out, "random", "learned")) == 1
    assert capsys.readouterr().err.startswith(f"admit: no bundle replaced: {worse}")
    assert contents(out) == old
    assert names(tmp_path / "bundles") == ["tiny"]


def test_another_bundle_than_the_verdicts_is_refused(
    folder: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = copy_bundle(folder / "learned", tmp_path / "other", version="3")
    old = contents(out)
    verdict = folder / "learned-random" / "verdict.json"
    assert admit.main([str(other), "--verdict", str(verdict), "--out", str(out)]) == 2
    checksum = verify.read(other).manifest.checksum
    judged = verify.read(folder / "learned").manifest.checksum
    assert capsys.readouterr().err == (
        f"admit: {verdict}: is not about {other}, whose manifest has the checksum {checksum[:12]}, "
        f"but about {judged[:12]}; evaluate both bundles and compare them again\n"
    )
    assert admit.main(arguments(folder, other)) == 2
    assert f"verdict.json: is not about {other}, whose" in capsys.readouterr().err
    assert contents(out) == old


@pytest.mark.parametrize("missing", ["new", "out", "verdict"])
def test_what_is_missing_is_named(
    missing: str, folder: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, there = contents(out), tmp_path / "missing"
    new, _, verdict, *_ = arguments(folder, out)
    paths: dict[str, Any] = {"new": new, "verdict": verdict, "out": out, missing: there}
    command = [paths["new"], "--verdict", paths["verdict"], "--out", paths["out"]]
    assert admit.main([*map(str, command)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("admit: ")
    assert str(there) in error
    assert error.count("\n") == 1
    assert contents(out) == old
    assert not there.exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not a verdict of training/evaluate.py --compare --gate (Invalid JSON"),
        ("{}", "not a verdict of training/evaluate.py --compare --gate (admitted: Field required)"),
    ],
)
def test_what_is_no_verdict(
    text: str,
    complaint: str,
    folder: Path,
    out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "verdict.json").write_text(text)
    command = [str(folder / "learned"), "--verdict", str(tmp_path / "verdict.json")]
    assert admit.main([*command, "--out", str(out)]) == 2
    assert f"admit: {tmp_path}/verdict.json: {complaint}" in capsys.readouterr().err


@pytest.mark.parametrize("measured", [{}, {"rows": 20, "accuracy": "much"}])
def test_figures_that_are_none(
    measured: dict[str, Any],
    folder: Path,
    out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = contents(out)
    verdict = json.loads((folder / "learned-random" / "verdict.json").read_text())
    (tmp_path / "verdict.json").write_text(json.dumps(verdict | {"measured": measured}))
    command = [str(folder / "learned"), "--verdict", str(tmp_path / "verdict.json")]
    assert admit.main([*command, "--out", str(out)]) == 2
    assert "verdict.json: its figures cannot be read (" in capsys.readouterr().err
    assert contents(out) == old


def test_a_damaged_bundle_is_refused(
    folder: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = Path(shutil.copytree(folder / "learned", tmp_path / "new"))
    (new / "golden.json").write_text("[]")
    verdict = folder / "learned-random" / "verdict.json"
    assert admit.main([str(new), "--verdict", str(verdict), "--out", str(out)]) == 2
    assert "golden.json: 2 bytes" in capsys.readouterr().err
