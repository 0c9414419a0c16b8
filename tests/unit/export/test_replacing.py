"""What stands where a bundle is to be written: it stays until the new one is complete."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from export import convert, graphs, verify
from export.replacing import kept_beside, put_back, replacing
from tests.support.checkpoints import contents, names


def change_an_onnx_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the export itself wrong, as a mistake in it would be."""
    build = graphs.build_decoder

    def build_wrongly(model: torch.nn.Module, dtype: ir.DataType) -> ir.Model:
        graph = build(model, dtype)
        weight = graph.graph.initializers["1.feed_forward.wo"]
        assert weight.const_value is not None
        weight.const_value = ir.tensor(weight.const_value.numpy() + np.float32(0.5))
        return graph

    monkeypatch.setattr(graphs, "build_decoder", build_wrongly)


def test_a_failing_gate_leaves_the_old_bundle(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "bundle"
    assert convert.main([str(checkpoint), "--out", str(out)]) == 0
    old = contents(out)
    change_an_onnx_weight(monkeypatch)
    assert convert.main([str(checkpoint), "--out", str(out), "--version", "2"]) == 1
    assert capsys.readouterr().err.startswith("convert: no bundle written: ")
    assert contents(out) == old
    assert names(tmp_path) == ["bundle"]


def test_a_failing_gate_writes_no_bundle(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_an_onnx_weight(monkeypatch)
    assert convert.main([str(checkpoint), "--out", str(tmp_path / "bundle")]) == 1
    assert names(tmp_path) == []


def test_an_old_bundle_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    for version in ("1", "2"):
        assert convert.main([str(checkpoint), "--out", str(out), "--version", version]) == 0
        assert verify.read(out).manifest.version == version
    assert names(tmp_path) == [".bundle.before", "bundle"]
    assert verify.read(kept_beside(out)).manifest.version == "1"


def test_what_is_no_bundle_is_not_replaced(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "manifest.json").write_text('{"schema_version": 1}')
    (out / "holiday.jpg").write_text("the only copy")
    before = contents(out)
    assert convert.main([str(checkpoint), "--out", str(out)]) == 2
    assert "exists and is no bundle, so it is not replaced" in capsys.readouterr().err
    assert contents(out) == before


def test_a_kept_bundle_is_put_back(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    for text in ("1", "2", "3"):
        with replacing(out) as new:
            (new / "a").write_text(text)
    assert kept_beside(out) == tmp_path / ".bundle.before"
    assert (contents(out), contents(kept_beside(out))) == ({"a": b"3"}, {"a": b"2"})
    put_back(out)
    assert contents(out) == {"a": b"2"}
    assert names(tmp_path) == ["bundle"]
    out.rename(kept_beside(out))  # as after kill -9 between two renames
    put_back(out)
    assert contents(out) == {"a": b"2"}
    assert names(tmp_path) == ["bundle"]


def test_a_failed_rename_puts_the_old_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    for folder, text in ((out, "old"), (kept_beside(out), "older")):
        folder.mkdir()
        (folder / "a").write_text(text)
    rename = Path.rename

    def fail_for_new(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("no space left")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(OSError, match="no space left"), replacing(out) as new:
        (new / "a").write_text("new")
    assert contents(out) == {"a": b"old"}
    assert contents(kept_beside(out)) == {"a": b"older"}
    assert names(tmp_path) == [".bundle.before", "bundle"]
