"""Reads a bundle and verifies it, or seals a new one."""

import hashlib
import json
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from export.bundle import (
    GOLDEN,
    MANIFEST,
    MAX_FILE_BYTES,
    MAX_GRAPH_BYTES,
    MAX_MANIFEST_BYTES,
    REQUIRED_FILES,
    SCHEMA_VERSION,
    BundleError,
    FileEntry,
    Golden,
    Manifest,
)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    manifest: Manifest
    golden: list[Golden]

    def path(self, name: str) -> Path:
        return self.folder / name


def read(folder: Path | str) -> Bundle:
    """Reads a bundle and verifies every file that its manifest lists.

    Opens nothing outside `folder`. Raises BundleError, with the file and the reason, if anything is
    missing, changed or unknown.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    for name, entry in manifest.files.items():
        _verify(folder, name, entry)
    for path in folder.iterdir():
        if path.name != MANIFEST and path.name not in manifest.files:
            raise BundleError(f"{path}: not in the manifest, so nothing vouches for it; remove it")
    try:
        golden = TypeAdapter(list[Golden]).validate_json((folder / GOLDEN).read_bytes())
    except ValidationError as error:
        raise BundleError(f"{folder / GOLDEN}: {_first_problem(error)}") from error
    return Bundle(folder, manifest, golden)


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Writes the manifest of a folder whose other files are complete.

    Returns the manifest, with the size and SHA-256 of each file, and its own checksum.
    """
    files = {
        path.name: FileEntry(size=path.stat().st_size, sha256=_sha256(path))
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    sealed = manifest.model_copy(update={"files": files})
    checksum = manifest_checksum(json.loads(sealed.model_dump_json()))
    sealed = sealed.model_copy(update={"checksum": checksum})
    (folder / MANIFEST).write_text(sealed.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return sealed


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle. Bundles with equal manifests are the same bundle.

    Reads no other file. Raises BundleError if there is no manifest, or it was changed.
    """
    path = folder / MANIFEST
    _refuse_link(path)
    if not path.is_file():
        raise BundleError(why_no_bundle(folder))
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes, so not a manifest")
    text = path.read_bytes()
    try:
        content = json.loads(text)
        checksum = manifest_checksum(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error})") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: schema version {reprlib.repr(version)}, but this Duet reads version "
            f"{SCHEMA_VERSION}; export the bundle again, or use the Duet that wrote it"
        )
    try:
        # from the text: only then pydantic checks its characters and its depth
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"{path}: {_first_problem(error)}") from error
    for name in REQUIRED_FILES:
        if name not in manifest.files:
            raise BundleError(f"{path}: lists no {name}, which every bundle has")
    if manifest.checksum != checksum:
        raise BundleError(f"{path}: its checksum is not that of its content, so it was changed")
    return manifest


def why_no_bundle(folder: Path) -> str:
    """Why a path without a manifest is no bundle: what it is instead, and what to do."""
    if not folder.exists():
        advice = "make export writes a bundle"
        if not folder.is_absolute() and not folder.parent.exists():
            advice = f"a model of the hub is distilled first: make distill; then {advice}"
        return f"{folder}: not a bundle, there is no such folder; {advice}"
    if folder.is_file() and (folder.parent / MANIFEST).is_file():
        return f"{folder}: not a bundle, but a file of one; give its folder, {folder.parent}"
    if folder.suffix in (".yaml", ".yml"):
        return (
            f"{folder}: not a bundle, but a recipe; make distill RECIPE={folder} trains its "
            "student, and make export makes a bundle of that"
        )
    if folder.is_file():
        return f"{folder}: not a bundle, but a file; expected a folder that make export wrote"
    if (folder / "student.json").is_file():
        name = folder.resolve().name
        return (
            f"{folder}: not a bundle, but a checkpoint; export it first: "
            f"make export CHECKPOINT={folder} BUNDLE=bundles/{name}"
        )
    if (folder / "recipe.json").is_file():
        return (
            f"{folder}: not a bundle, but a training that has not ended; make distill goes on with "
            "it, and make export makes a bundle of its student"
        )
    if (folder / "config.json").is_file():
        return (
            f"{folder}: not a bundle, but a model of transformers; make distill trains a student "
            f"from it (model: {folder} in the recipe), and make export makes a bundle of that"
        )
    students = sorted(path.parent.name for path in folder.glob("*/student.json"))
    if students:
        return (
            f"{folder}: not a bundle, but a folder of checkpoints ({', '.join(students)}); export "
            f"one first: make export CHECKPOINT={folder / students[0]} BUNDLE=bundles/{students[0]}"
        )
    if not any(folder.iterdir()):
        return f"{folder}: not a bundle, but an empty folder; make export writes a bundle"
    return f"{folder}: not a bundle, there is no {MANIFEST} in it, nor in a folder in it"


def _verify(folder: Path, name: str, entry: FileEntry) -> None:
    path = folder / name
    _refuse_link(path)
    if not path.is_file():
        raise BundleError(f"{path}: missing, but the manifest lists it")
    limit = MAX_FILE_BYTES.get(name, MAX_GRAPH_BYTES)
    if entry.size > limit:
        raise BundleError(
            f"{path}: {entry.size} bytes by the manifest, but it may have at most {limit}"
        )
    size = path.stat().st_size
    if size != entry.size:
        raise BundleError(f"{path}: {size} bytes, but the manifest says {entry.size}")
    if _sha256(path) != entry.sha256:
        raise BundleError(f"{path}: its SHA-256 is not the manifest's, so it was changed")


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise BundleError(f"{path}: a link, and a bundle's files must be plain files")


def manifest_checksum(content: Any) -> str:
    """The SHA-256 of a manifest's JSON without `checksum`: keys sorted, no spaces, in ASCII."""
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key != "checksum"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, problem["loc"])), problem["msg"]]))
