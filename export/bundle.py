"""The format of a bundle: a folder with all files that serving a student needs, and a manifest.

`service` imports only this module and `export.verify` from `export`. Neither imports torch or onnx.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

from tasks.calibration import Calibration
from tasks.task import Fields, Name, TrainedTask

SCHEMA_VERSION: Final = 1
MANIFEST = "manifest.json"
ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.json"
MODEL_CARD = "MODEL_CARD.md"
DRAFT = "draft.bin"  # optional
REQUIRED_FILES = (ENCODER, DECODER, TOKENIZER, GOLDEN, MODEL_CARD)

MAX_MANIFEST_BYTES = 4 * 2**20  # a manifest has a few kilobytes
MAX_FILE_BYTES: Final = {GOLDEN: 4 * 2**20, MODEL_CARD: 4 * 2**20, TOKENIZER: 2**28}
MAX_GRAPH_BYTES: Final = 2**31  # protobuf's own limit; also the limit of all other files

# draft.bin: a header, then slots of two little-endian uint32. A context of 1 to DRAFT_ORDER tokens
# with the hash h (see `context_hashes`) belongs in the slot (h >> 32) % slots. The first uint32 is
# h modulo 2^32. The second one holds the likeliest next token in the low 24 bits, and its share of
# the counts in the high 8 bits. An empty slot is zero. If a context's slot is taken, the context is
# left out.
DRAFT_HEADER: Final = b"DUETDRAFT\0\0\0\1\0\0\0"  # format 1
DRAFT_ORDER: Final = 4

Precision = Literal["fp32", "int8", "fp16", "bf16"]


class BundleError(ValueError):
    """A folder is not a bundle, or was changed. The message has the file and the reason."""


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
    """The most tokens of each text, with the end token."""

    input_tokens: int = Field(gt=1)
    label_tokens: int = Field(gt=1)
    rationale_tokens: int = Field(gt=1)


class Provenance(_Part):
    """The origin of the student: enough to make it again."""

    base_model: str
    recipe: dict[str, Any]
    data_fingerprint: str
    seed: int
    code_version: str
    parity: dict[str, float | int | str] = Field(
        description="the measurements of export's parity gate"
    )
    gate: dict[str, float | int | str] = Field(
        default={}, description="the comparison with the bundle that it replaced"
    )


class FileEntry(_Part):
    size: int = Field(ge=0, description="bytes")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(_Part):
    schema_version: Literal[1] = SCHEMA_VERSION
    name: Name
    version: Name
    task: TrainedTask
    model: Geometry
    precision: Precision
    limits: Limits
    explains: bool = Field(
        True, description="whether the student learnt to explain; false: it gives labels only"
    )
    calibration: Calibration = Calibration()
    metrics: dict[str, dict[str, float | int | str]] = Field(
        description="per split: accuracy, rows and their origin; for `rationales`: their health"
    )
    provenance: Provenance
    license: str
    files: dict[Name, FileEntry] = {}
    checksum: str = Field("", description="SHA-256 of the rest of the manifest")


class Golden(_Part):
    """An input with the outputs that this bundle must give for it.

    `rationale` is None where the student does not explain.
    """

    fields: Fields
    label: str
    rationale: str | None


def context_hashes(tokens: Sequence[int]) -> list[int]:
    """The 64-bit hashes of the last 1, 2, ... tokens, up to DRAFT_ORDER or `len(tokens)`."""
    value, hashes = 0xCBF29CE484222325, []
    for token in tokens[: -DRAFT_ORDER - 1 : -1]:
        value = ((value ^ token) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        hashes.append(value)
    return hashes
