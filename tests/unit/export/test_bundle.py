"""Bundles: what is written is read again, and nothing that was changed is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export import bundle
from export.bundle import BundleError, Geometry, Golden, Limits, Manifest, Provenance, TaskSpec

GOLDEN = [Golden(fields={"text": "1 + 1?"}, label="( 1 + 1 )", rationale="One and one.")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed bundle. Its graphs are some bytes: reading looks at hashes, not into them."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in (bundle.ENCODER, bundle.DECODER, bundle.TOKENIZER, bundle.MODEL_CARD):
        (folder / name).write_bytes(name.encode() * 100)
    golden = json.dumps([example.model_dump() for example in GOLDEN])
    (folder / bundle.GOLDEN).write_text(golden)
    bundle.seal(folder, manifest())
    return folder


def manifest() -> Manifest:
    return Manifest(
        name="tiny",
        version="1.0",
        task=TaskSpec(name="svamp", fields=["text"], template="{{text}}", answer="arithmetic"),
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
    read = bundle.read(folder)
    assert read.golden == GOLDEN
    assert read.manifest.model_copy(update={"files": {}}) == manifest()
    assert set(read.manifest.files) == set(bundle.REQUIRED_FILES)
    assert read.path(bundle.ENCODER).read_bytes() == b"encoder.onnx" * 100


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / bundle.ENCODER).read_bytes())
    content[500] ^= 1
    (folder / bundle.ENCODER).write_bytes(content)


def truncate(folder: Path) -> None:
    (folder / bundle.DECODER).write_bytes((folder / bundle.DECODER).read_bytes()[:-1])


def remove(folder: Path) -> None:
    (folder / bundle.TOKENIZER).unlink()


def link_outside(folder: Path) -> None:
    outside = folder.parent / "outside"
    (folder / bundle.ENCODER).rename(outside)
    (folder / bundle.ENCODER).symlink_to(outside)


def add_a_file(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"external data of a graph")


def put_a_folder(folder: Path) -> None:
    (folder / bundle.MODEL_CARD).unlink()
    (folder / bundle.MODEL_CARD).mkdir()


def remove_the_manifest(folder: Path) -> None:
    (folder / bundle.MANIFEST).unlink()


def write_no_json(folder: Path) -> None:
    (folder / bundle.MANIFEST).write_text("{")


def nest_without_end(folder: Path) -> None:
    (folder / bundle.MANIFEST).write_text("[" * 1_000_000)


def write_a_list(folder: Path) -> None:
    (folder / bundle.MANIFEST).write_text("[1]")


def write_too_much(folder: Path) -> None:
    (folder / bundle.MANIFEST).write_bytes(b" " * (bundle.MAX_MANIFEST_BYTES + 1))


def link_the_manifest(folder: Path) -> None:
    (folder / bundle.MANIFEST).rename(folder.parent / "outside.json")
    (folder / bundle.MANIFEST).symlink_to(folder.parent / "outside.json")


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (flip_a_bit, "encoder.onnx: its SHA-256 is not the manifest's"),
        (truncate, "decoder.onnx: 1199 bytes, but the manifest says 1200"),
        (remove, "tokenizer.json: missing"),
        (link_outside, "encoder.onnx: a link"),
        (add_a_file, "weights.bin: not in the manifest"),
        (put_a_folder, "MODEL_CARD.md: missing"),
        (remove_the_manifest, "no manifest.json in it"),
        (write_no_json, "manifest.json: not JSON"),
        (nest_without_end, "manifest.json: not JSON"),
        (write_a_list, "manifest.json: schema version None"),
        (write_too_much, "manifest.json: larger than"),
        (link_the_manifest, "manifest.json: a link"),
    ],
)
def test_a_changed_folder_is_refused(
    folder: Path, tamper: Callable[[Path], None], message: str
) -> None:
    tamper(folder)
    with pytest.raises(BundleError, match=message):
        bundle.read(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema version 2, but this Duet reads version 1"),
        ({"schema_version": "1"}, "schema version '1', but this Duet reads version 1"),
        ({"name": ".."}, "manifest.json: name: "),
        ({"surprise": 1}, "manifest.json: surprise: "),
        ({"precision": "fp8"}, "manifest.json: precision: "),
        ({"files": {"../secret": {"size": 1, "sha256": "0" * 64}}}, "manifest.json: files.../sec"),
        ({"files": {"/etc/passwd": {"size": 1, "sha256": "0" * 64}}}, "manifest.json: files./etc"),
        ({"files": {}}, "manifest.json: lists no encoder.onnx"),
    ],
)
def test_a_changed_manifest_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / bundle.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BundleError, match=message):
        bundle.read(folder)


@pytest.mark.parametrize(
    "labels", [[], ["a", "a"], ["a", " "], {"field": "choices"}, [str(i) for i in range(1001)]]
)
def test_labels_that_are_none_are_refused(folder: Path, labels: object) -> None:
    path = folder / bundle.MANIFEST
    content = json.loads(path.read_text())
    content["task"]["labels"] = labels
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"task.*labels"):
        bundle.read(folder)


@pytest.mark.parametrize("content", ["not JSON", "[{}]", '[{"fields": {}, "label": 1}]'])
def test_golden_examples_that_are_none_are_refused(folder: Path, content: str) -> None:
    (folder / bundle.GOLDEN).write_text(content)
    bundle.seal(folder, manifest())
    with pytest.raises(BundleError, match=r"golden.json: .+"):
        bundle.read(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: not a bundle"):
        bundle.read(tmp_path / "nowhere")
