"""The bundle: a folder with everything that serving a student needs, described by its manifest.

This module is all of `export` that `service` knows. It imports neither torch nor onnx.
"""

import hashlib
import json
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from tasks.calibration import Calibration
from tasks.task import Fields, Name, Task

SCHEMA_VERSION: Final = 1
MANIFEST = "manifest.json"
ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.json"
MODEL_CARD = "MODEL_CARD.md"
DRAFT = "draft.bin"  # optional
REQUIRED_FILES = (ENCODER, DECODER, TOKENIZER, GOLDEN, MODEL_CARD)

MAX_MANIFEST_BYTES = 4 * 2**20  # a manifest is some kilobytes: anything larger is not one
MAX_FILE_BYTES: Final = {GOLDEN: 4 * 2**20, MODEL_CARD: 4 * 2**20, TOKENIZER: 2**28}
MAX_GRAPH_BYTES: Final = 2**31  # protobuf's own limit, and so that of every other file

# draft.bin: a header, then slots of two little-endian uint32. A context of 1 to DRAFT_ORDER tokens
# with the hash h (see `context_hashes`) belongs in the slot (h >> 32) % slots, which holds h modulo
# 2^32, and then the likeliest next token (24 bits) below its share of the counts (8 bits). An empty
# slot is zero. What does not fit is left out.
DRAFT_HEADER: Final = b"DUETDRAFT\0\0\0\1\0\0\0"  # format 1
DRAFT_ORDER: Final = 4

Precision = Literal["fp32", "int8", "fp16", "bf16"]


class BundleError(ValueError):
    """A folder is not a bundle that can be trusted. The message names the file and the reason."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Geometry(_Part):
    """The shapes of the two graphs, and the token ids that decoding needs."""

    d_model: int = Field(gt=0)
    encoder_layers: int = Field(gt=0)
    decoder_layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    vocab_size: int = Field(gt=0)
    pad_id: int = Field(ge=0)
    eos_id: int = Field(ge=0)
    decoder_start_id: int = Field(ge=0)


class Limits(_Part):
    """Token counts, the end token included."""

    input_tokens: int = Field(gt=1)
    label_tokens: int = Field(gt=1)
    rationale_tokens: int = Field(gt=1)


class Provenance(_Part):
    """Where the student comes from: enough to make it again."""

    base_model: str
    recipe: dict[str, Any]
    data_fingerprint: str
    seed: int
    code_version: str
    parity: dict[str, float | int | str] = Field(description="what export's parity gate measured")
    gate: dict[str, float | int | str] = Field(
        default={}, description="how it did beside the bundle that it was to replace"
    )


class FileEntry(_Part):
    size: int = Field(ge=0, description="bytes")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(_Part):
    schema_version: Literal[1] = SCHEMA_VERSION
    name: Name
    version: Name
    task: Task
    model: Geometry
    precision: Precision
    limits: Limits
    calibration: Calibration = Calibration()
    metrics: dict[str, dict[str, float | int | str]] = Field(
        description="per split: accuracy, rows, and what the rows are; of `rationales` their health"
    )
    provenance: Provenance
    license: str
    files: dict[Name, FileEntry] = {}
    checksum: str = Field("", description="SHA-256 of the rest of the manifest; see `_checksum`")


class Golden(_Part):
    """An input with the outputs that this bundle must give for it."""

    fields: Fields
    label: str
    rationale: str


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    manifest: Manifest
    golden: list[Golden]

    def path(self, name: str) -> Path:
        return self.folder / name


def context_hashes(tokens: Sequence[int]) -> list[int]:
    """The 64-bit hashes of the last 1, 2, ... DRAFT_ORDER tokens, as far as there are so many."""
    value, hashes = 0xCBF29CE484222325, []
    for token in tokens[: -DRAFT_ORDER - 1 : -1]:
        value = ((value ^ token) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        hashes.append(value)
    return hashes


def read(folder: Path | str) -> Bundle:
    """Reads a bundle and verifies every file that its manifest lists.

    Opens nothing outside `folder`. Raises BundleError, naming the file and the reason, where
    anything is missing, changed, or not understood.
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

    Returns the manifest with size and SHA-256 of each file in it, and its own checksum.
    """
    files = {
        path.name: FileEntry(size=path.stat().st_size, sha256=_sha256(path))
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    sealed = manifest.model_copy(update={"files": files})
    checksum = _checksum(json.loads(sealed.model_dump_json()))
    sealed = sealed.model_copy(update={"checksum": checksum})
    (folder / MANIFEST).write_text(sealed.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return sealed


def read_manifest(folder: Path) -> Manifest:
    """What a folder says of itself. Bundles with equal manifests are the same bundle.

    Raises BundleError where it is no manifest, or not what was sealed. Looks at no other file.
    """
    path = folder / MANIFEST
    _refuse_link(path)
    if not path.is_file():
        raise BundleError(f"{folder}: not a bundle, there is no {MANIFEST} in it")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes, so not a manifest")
    text = path.read_bytes()
    try:
        content = json.loads(text)
        checksum = _checksum(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error})") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: schema version {reprlib.repr(version)}, but this Duet reads version "
            f"{SCHEMA_VERSION}; export the bundle again, or use the Duet that wrote it"
        )
    try:
        # of the text, for only that is checked to hold whole characters and no endless depths
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"{path}: {_first_problem(error)}") from error
    for name in REQUIRED_FILES:
        if name not in manifest.files:
            raise BundleError(f"{path}: lists no {name}, which every bundle has")
    if manifest.checksum != checksum:
        raise BundleError(f"{path}: its checksum is not that of its content, so it was changed")
    return manifest


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


def _checksum(content: Any) -> str:
    """SHA-256 of a manifest's JSON but for its `checksum`: keys sorted, no spaces, in ASCII."""
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
