"""Exports a distilled student: `python -m export.convert CHECKPOINT --out BUNDLE`."""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import transformers
from pydantic import TypeAdapter

from export import verify
from export.bundle import BundleError, Precision
from export.checkpoint import load_checkpoint
from export.gate import Gate, GateError, WorseError
from export.layers import UnsupportedModelError
from export.optimum import OptimumMissingError, export_with_optimum
from export.parity import ParityError
from export.writing import write_bundle
from tasks.task import Name
from training.student.record import StudentError

log = logging.getLogger("duet.export")


def main(argv: Sequence[str] | None = None, prog: str = "export.convert") -> int:
    """Returns 0; 1 where a gate fails; 2 for a checkpoint or an OUT that cannot serve."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder that training/distill.py wrote")
    parser.add_argument(
        "--out", type=Path, required=True, help="the bundle; an old one is replaced"
    )
    parser.add_argument("--version", type=_version, default="1", help="of the bundle (default: 1)")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="fp32",
        help="of weights and activations; fp16 and bf16 are for GPUs (default: fp32)",
    )
    parser.add_argument(
        "--layout",
        choices=("duet", "optimum"),
        default="duet",
        help="duet: a bundle; optimum: a folder for ORTModelForSeq2SeqLM (default: duet)",
    )
    parser.add_argument(
        "--gate-against",
        type=Path,
        metavar="BUNDLE",
        help="refuse a student that is significantly worse than this one's (with --data)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="labelled rows that neither learnt, as JSON lines, CSV or Parquet",
    )
    parser.add_argument(
        "--notes",
        type=Path,
        metavar="FILE",
        help="Markdown for the model card: what else is to be known of the student",
    )
    arguments = parser.parse_args(argv)
    if arguments.layout == "optimum" and arguments.precision != "fp32":
        parser.error("the layout optimum has no --precision but fp32")
    if arguments.layout == "optimum" and arguments.gate_against:
        parser.error("the layout optimum has no --gate-against")
    if (arguments.gate_against is None) != (arguments.data is None):
        parser.error("--gate-against BUNDLE and --data FILE need each other")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    transformers.logging.set_verbosity_error()
    try:
        if arguments.layout == "optimum":
            export_with_optimum(arguments.checkpoint, arguments.out)
            log.info("wrote %s", arguments.out)
        else:
            convert(
                arguments.checkpoint,
                arguments.out,
                arguments.version,
                arguments.precision,
                arguments.gate_against,
                arguments.data,
                arguments.notes,
            )
    except (ParityError, WorseError) as error:
        print(f"convert: no bundle written: {error}", file=sys.stderr)
        return 1
    except (
        StudentError,
        UnsupportedModelError,
        OptimumMissingError,
        BundleError,
        GateError,
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
    gate_against: Path | None = None,
    data: Path | None = None,
    notes: Path | None = None,
) -> None:
    """Writes the bundle of the student in `source` to `out`, if it passes the gates.

    They are parity, and, where `gate_against` is a bundle, not to be worse than that one on the
    labelled rows of the file `data`. The file `notes` becomes a part of the card. A bundle that is
    at `out` already, perhaps the same, stays until the new one is complete. Raises StudentError,
    UnsupportedModelError, BundleError (`out` is something else), GateError, ParityError,
    WorseError, OSError.
    """
    if out.exists():
        _require_bundle(out)
    log.info("reading %s", source)
    checkpoint = load_checkpoint(source)
    command = ["python", "-m", "export.convert", str(source), "--out", str(out)]
    command += ["--version", version, "--precision", precision]
    gate = None
    if gate_against is not None and data is not None:
        gate = Gate.open(gate_against, data, checkpoint.record.task)
        command += ["--gate-against", str(gate_against), "--data", str(data)]
    told = ""
    if notes is not None:
        told = notes.read_text(encoding="utf-8").strip()
        command += ["--notes", str(notes)]
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        write_bundle(checkpoint, new, version, precision, shlex.join(command), gate, told)
        _replace(out, new, old)
    log.info("wrote %s", out)


def _require_bundle(out: Path) -> None:
    try:
        verify.read(out)
    except BundleError as error:
        raise BundleError(
            f"{out} exists and is no bundle, so it is not replaced ({error}); "
            "choose another --out, or delete it"
        ) from error


def _replace(out: Path, new: Path, old: Path) -> None:
    """Moves `new` to `out`, and what was there to `old`. If that fails, all is as before."""
    if not out.exists():
        new.rename(out)
        return
    out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        old.rename(out)
        raise


def _version(text: str) -> str:
    return TypeAdapter(Name).validate_python(text)


if __name__ == "__main__":
    sys.exit(main())
