"""Bundles: what is written is read again, and nothing that was changed is."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from export import bundle, verify
from export.bundle import BundleError, Geometry, Golden, Limits, Manifest, Provenance
from tasks.task import Task
from tests.support.corrupt_bundles import TAMPERINGS
from tests.support.server_process import ROOT

GOLDEN = [Golden(fields={"text": "1 + 1?"}, label="( 1 + 1 )", rationale="One and one.")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed bundle. Its graphs are some bytes: reading looks at hashes, not into them."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in (*bundle.REQUIRED_FILES, bundle.DRAFT):
        (folder / name).write_bytes(name.encode() * 100)
    golden = json.dumps([example.model_dump() for example in GOLDEN])
    (folder / bundle.GOLDEN).write_text(golden)
    verify.seal(folder, manifest())
    return folder


def manifest() -> Manifest:
    return Manifest(
        name="tiny",
        version="1.0",
        task=Task(name="svamp", fields=["text"], template="{{text}}", answer="arithmetic"),
        model=Geometry(
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            heads=4,
            head_dim=8,
            vocab_size=320,
            pad_id=0,
            eos_id=1,
            decoder_start_id=0,
        ),
        precision="fp32",
        limits=Limits(input_tokens=64, label_tokens=8, rationale_tokens=24),
        metrics={"test": {"accuracy": 0.5, "rows": 2}},
        provenance=Provenance(
            base_model="scratch",
            recipe={"seed": 0},
            data_fingerprint="0" * 64,
            seed=0,
            code_version="0.1.0",
            parity={"rows": 200},
        ),
        license="apache-2.0",
    )


def test_what_is_sealed_is_read(folder: Path) -> None:
    read = verify.read(folder)
    assert read.golden == GOLDEN
    assert read.manifest.model_copy(update={"files": {}, "checksum": ""}) == manifest()
    assert set(read.manifest.files) == {*bundle.REQUIRED_FILES, bundle.DRAFT}
    assert read.path(bundle.ENCODER).read_bytes() == b"encoder.onnx" * 100


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampered_bundle_is_refused(folder: Path, name: str) -> None:
    tamper, message = TAMPERINGS[name]
    tamper(folder)
    with pytest.raises(BundleError, match=message):
        verify.read(folder)


def test_any_flipped_bit_of_the_manifest_is_noticed(folder: Path) -> None:
    """Or it changes nothing: white space may be other white space, and 1e9 may be 1E9."""
    path, sealed = folder / bundle.MANIFEST, verify.read(folder).manifest
    content = path.read_bytes()
    messages = []
    for bit in range(0, 8 * len(content), 5):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert verify.read(folder).manifest == sealed
        except BundleError as error:
            messages.append(str(error))
    assert len(messages) > len(content)
    assert all(str(path) in message for message in messages)


@pytest.mark.parametrize("name", ["10 GB claimed", "10 GB"])
def test_a_huge_file_is_not_even_read(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    TAMPERINGS[name][0](folder)
    sha256, hashed = verify._sha256, []

    def hash_and_remember(path: Path) -> str:
        hashed.append(path.name)
        return sha256(path)

    monkeypatch.setattr(verify, "_sha256", hash_and_remember)
    with pytest.raises(BundleError, match=bundle.ENCODER):
        verify.read(folder)
    assert bundle.ENCODER not in hashed


@pytest.mark.parametrize(
    "labels", [[], ["a", "a"], ["a", " "], {"field": "choices"}, [str(i) for i in range(1001)]]
)
def test_labels_that_are_none_are_refused(folder: Path, labels: object) -> None:
    path = folder / bundle.MANIFEST
    content = json.loads(path.read_text())
    content["task"]["labels"] = labels
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"task.*labels"):
        verify.read(folder)


@pytest.mark.parametrize(
    "change", [{"numbers": "hidden"}, {"numbers": "masked", "labels": ["yes", "7"]}]
)
def test_numbers_that_cannot_be_masked_are_refused(folder: Path, change: dict[str, Any]) -> None:
    path = folder / bundle.MANIFEST
    content = json.loads(path.read_text())
    content["task"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"task.*numbers"):
        verify.read(folder)


def test_a_manifest_without_a_word_of_numbers_has_them_as_text(folder: Path) -> None:
    path = folder / bundle.MANIFEST
    content = json.loads(path.read_text())
    del content["task"]["numbers"], content["checksum"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))
    assert verify.read(folder).manifest.task.numbers is None


def test_a_bundle_from_before_the_key_keeps_white_space() -> None:
    task = verify.read(ROOT / "tests" / "fixtures" / "svamp-mini").manifest.task
    assert task.whitespace == "keep"
    assert task.render({"text": "Ann has 3.\nHow many?"}) == "Ann has 3.\nHow many?"


@pytest.mark.parametrize("content", ["not JSON", "[{}]", '[{"fields": {}, "label": 1}]'])
def test_golden_examples_that_are_none_are_refused(folder: Path, content: str) -> None:
    (folder / bundle.GOLDEN).write_text(content)
    verify.seal(folder, manifest())
    with pytest.raises(BundleError, match=r"golden.json: .+"):
        verify.read(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: not a bundle"):
        verify.read(tmp_path / "nowhere")
