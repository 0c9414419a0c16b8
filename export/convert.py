"""Exports a distilled student: `python -m export.convert CHECKPOINT --out BUNDLE`."""

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import transformers
from pydantic import Field, model_validator
from pydantic_settings import CliPositionalArg

from export.bundle import BundleError, Precision
from export.checkpoint import load_checkpoint
from export.command_line import CommandLine, UsageError, read_command_line
from export.layers import UnsupportedModelError
from export.optimum import OptimumMissingError, export_with_optimum
from export.parity import ParityError
from export.replacing import kept_beside, replacing, require_replaceable
from export.writing import write_bundle
from tasks.task import Name
from training.student.files import StudentError

log = logging.getLogger("duet.export")


class ConvertArguments(CommandLine):
    """Exports a distilled student to a bundle."""

    checkpoint: CliPositionalArg[Path] = Field(
        description="the folder that training/distill.py wrote"
    )
    out: Path = Field(description="the bundle; an old one is replaced")
    version: Name = Field("1", description="the bundle's version")
    precision: Precision = Field(
        "fp32", description="precision of weights and activations; fp16 and bf16 are for GPUs"
    )
    layout: Literal["duet", "optimum"] = Field(
        "duet", description="duet: a bundle; optimum: a folder for ORTModelForSeq2SeqLM"
    )
    notes: Path | None = Field(
        None, description="a Markdown file with more facts about the student, for the model card"
    )

    @model_validator(mode="after")
    def _check_layout(self) -> Self:
        if self.layout == "optimum" and self.precision != "fp32":
            raise ValueError("the layout optimum has only --precision fp32")
        return self


def main(argv: Sequence[str] | None = None, prog: str = "python -m export.convert") -> int:
    """Returns 0; 1 if the parity gate fails; 2 if CHECKPOINT or OUT cannot be used."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    transformers.logging.set_verbosity_error()
    try:
        arguments = read_command_line(ConvertArguments, argv, prog)
        if arguments.layout == "optimum":
            export_with_optimum(arguments.checkpoint, arguments.out)
            log.info("wrote %s", arguments.out)
        else:
            convert(
                arguments.checkpoint,
                arguments.out,
                arguments.version,
                arguments.precision,
                arguments.notes,
            )
    except ParityError as error:
        print(f"convert: no bundle written: {error}", file=sys.stderr)
        return 1
    except (
        UsageError,
        StudentError,
        UnsupportedModelError,
        OptimumMissingError,
        BundleError,
        OSError,
    ) as error:
        print(f"convert: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("convert: stopped; no bundle written", file=sys.stderr)
        return 130
    return 0


def convert(
    source: Path,
    out: Path,
    version: str,
    precision: Precision = "fp32",
    notes: Path | None = None,
) -> None:
    """Writes the bundle of the student in `source` to `out`, if it passes the parity gate.

    The file `notes` becomes a part of the model card. An old bundle at `out` stays until the new
    one is complete, and then in `kept_beside(out)`. Raises StudentError, UnsupportedModelError,
    BundleError (`out` is not a bundle), ParityError, OSError.
    """
    require_replaceable(out)
    log.info("reading %s", source)
    checkpoint = load_checkpoint(source)
    command = ["python", "-m", "export.convert", str(source), "--out", str(out)]
    command += ["--version", version, "--precision", precision]
    text = ""
    if notes is not None:
        text = notes.read_text(encoding="utf-8").strip()
        command += ["--notes", str(notes)]
    replaced = out.exists()
    with replacing(out) as folder:
        write_bundle(checkpoint, folder, version, precision, shlex.join(command), text)
    if checkpoint.calibration.fitted_on is None:
        log.warning(
            "warning: its confidence is not calibrated; to fit it, run training/evaluate.py "
            "with --calibrate on the checkpoint, and export again"
        )
    log.info("wrote %s", out)
    if replaced:
        log.info("the bundle before is in %s", kept_beside(out))


if __name__ == "__main__":
    sys.exit(main())
