"""Ways to tamper with a bundle, and what the error must say: which file is wrong, and why."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from export import bundle, verify

Tamper = Callable[[Path], None]

FILES = (*bundle.REQUIRED_FILES, bundle.DRAFT)
DEEP = '{"a":' * 300 + "1" + "}" * 300
ANYTHING = {"size": 1, "sha256": "0" * 64}


def flip_a_bit(name: str) -> Tamper:
    def tamper(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return tamper


def truncate(name: str) -> Tamper:
    def tamper(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return tamper


def remove(name: str) -> Tamper:
    return lambda folder: (folder / name).unlink()


def link_outside(name: str) -> Tamper:
    def tamper(folder: Path) -> None:
        outside = folder.parent / f"outside {folder.name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return tamper


def put_a_folder(folder: Path) -> None:
    (folder / bundle.MODEL_CARD).unlink()
    (folder / bundle.MODEL_CARD).mkdir()


def put(name: str, content: bytes) -> Tamper:
    def tamper(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return tamper


def edit(change: Callable[[dict[str, Any]], object]) -> Tamper:
    """Changes the manifest's JSON and renews its checksum."""

    def tamper(folder: Path) -> None:
        path = folder / bundle.MANIFEST
        content = json.loads(path.read_bytes())
        change(content)
        content["checksum"] = verify.manifest_checksum(content)
        path.write_text(json.dumps(content))

    return tamper


def change_silently(folder: Path) -> None:
    path = folder / bundle.MANIFEST
    path.write_text(path.read_text().replace('"temperature": 1.0', '"temperature": 9.0'))


def claim(name: str, size: int) -> Tamper:
    return edit(lambda content: content["files"][name].update(size=size))


def make_huge(folder: Path) -> None:
    """A file of 10 GB, almost all of it a hole. The manifest gives the same size."""
    with (folder / bundle.ENCODER).open("ab") as file:
        file.truncate(10 * 10**9)
    claim(bundle.ENCODER, 10 * 10**9)(folder)


def set_in_manifest(**changes: object) -> Tamper:
    return edit(lambda content: content.update(changes))


def list_in_manifest(name: str) -> Tamper:
    return edit(lambda content: content["files"].update({name: ANYTHING}))


TAMPERINGS: dict[str, tuple[Tamper, str]] = {
    **{f"a bit of {n}": (flip_a_bit(n), f"{n}: its SHA-256 is not") for n in FILES},
    **{f"half of {n}": (truncate(n), rf"{n}: \d+ bytes, but the manifest says \d+") for n in FILES},
    **{f"no {n}": (remove(n), f"{n}: missing, but the manifest lists it") for n in FILES},
    **{f"{n} a link": (link_outside(n), f"{n}: a link, and .* plain files") for n in FILES},
    "a folder for a file": (put_a_folder, "MODEL_CARD.md: missing"),
    "a file too many": (put("weights.bin", b"0"), "weights.bin: not in the manifest"),
    "half of the manifest": (truncate(bundle.MANIFEST), "manifest.json: not JSON"),
    "no manifest": (remove(bundle.MANIFEST), "not a bundle, there is no manifest.json in it"),
    "the manifest a link": (link_outside(bundle.MANIFEST), "manifest.json: a link"),
    "no JSON": (put(bundle.MANIFEST, b"{"), "manifest.json: not JSON"),
    "nested JSON": (put(bundle.MANIFEST, b"[" * 1_000_000), "manifest.json: not JSON"),
    "a list for a manifest": (put(bundle.MANIFEST, b"[1]"), "manifest.json: schema version None"),
    "a huge manifest": (
        put(bundle.MANIFEST, b" " * (bundle.MAX_MANIFEST_BYTES + 1)),
        "manifest.json: larger than",
    ),
    "a number in the manifest": (change_silently, "manifest.json: its checksum is not"),
    "a newer schema": (
        set_in_manifest(schema_version=2),
        "manifest.json: schema version 2, but this Duet reads version 1; export",
    ),
    "a schema without end": (
        set_in_manifest(schema_version=["1" * 10**6]),
        r"manifest.json: schema version \['1+\.\.\.1+'\], but",
    ),
    "schema as text": (set_in_manifest(schema_version="1"), "manifest.json: schema version '1'"),
    "a name outside": (set_in_manifest(name=".."), "manifest.json: name: "),
    "half of a character": (set_in_manifest(license="\ud800"), "manifest.json: Invalid JSON: "),
    "depths without end": (
        edit(lambda content: content["provenance"]["recipe"].update(json.loads(DEEP))),
        "manifest.json: Invalid JSON: recursion limit",
    ),
    "no number": (
        set_in_manifest(metrics={"test": {"accuracy": math.nan}}),
        "manifest.json: metrics.test.accuracy.*: Input should be a finite number",
    ),
    "an unknown key": (set_in_manifest(surprise=1), "manifest.json: surprise: "),
    "an unknown precision": (set_in_manifest(precision="fp8"), "manifest.json: precision: "),
    "no files": (set_in_manifest(files={}), "manifest.json: lists no encoder.onnx"),
    "a path above": (list_in_manifest("../secret"), r"manifest.json: files\.\.\./secret.*pattern"),
    "an absolute path": (list_in_manifest("/etc/passwd"), "manifest.json: files./etc/passwd.*patt"),
    "a folder in a path": (list_in_manifest("a/b"), "manifest.json: files.a/b.*pattern"),
    "10 GB claimed": (
        claim(bundle.ENCODER, 10 * 10**9),
        "encoder.onnx: 10000000000 bytes by the manifest, but it may have at most 2147483648",
    ),
    "10 GB": (make_huge, "encoder.onnx: 10000000000 bytes by the manifest, but it may"),
    "a huge golden.json": (claim(bundle.GOLDEN, 10**9), "golden.json: .* may have at most 4194304"),
}
