"""Replaces a bundle in use by a new one, after `training/evaluate.py --compare --gate`.

`python -m export.admit NEW --verdict FILE --out BUNDLE`
"""

import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import jinja2
from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import CliPositionalArg

from export import bundle, verify
from export.bundle import BundleError
from export.command_line import CommandLine, UsageError, read_command_line
from export.replacing import kept_beside, replacing
from training.student.model_card import render_card

HEADING = "## Beside the bundle before"  # of the model card's last section, on the gate

log = logging.getLogger("duet.export")


class VerdictError(ValueError):
    """A verdict cannot be read, or is about other bundles. The message says what to do."""


class WorseError(Exception):
    """The new bundle is worse by the verdict. The message has the figures."""


class _Bundle(BaseModel):
    name: str
    version: str
    checksum: str


class _Data(BaseModel):
    source: str
    sha256: str


class Verdict(BaseModel):
    """The parts of `verdict.json`, from `training/evaluate.py`, that admission needs."""

    admitted: bool
    finding: str
    sentence: str
    new: _Bundle
    old: _Bundle
    data: _Data
    measured: dict[str, float | int | str]

    def stamp(self) -> dict[str, float | int | str]:
        """The gate's figures for the new bundle's manifest."""
        return self.measured | {
            "finding": self.finding,
            "against": f"{self.old.name}, version {self.old.version}",
            "against_checksum": self.old.checksum,
            "data": Path(self.data.source).name,
            "data_sha256": self.data.sha256,
        }


class AdmitArguments(CommandLine):
    """Replaces a bundle in use by a new one, if the gate admitted the new one."""

    new: CliPositionalArg[Path] = Field(description="the new bundle; it is copied, not moved")
    verdict: Path = Field(
        description="verdict.json, from training/evaluate.py --compare NEW OLD --gate"
    )
    out: Path = Field(
        description="the bundle in use; it is replaced, and kept beside as .BUNDLE.before"
    )


def main(argv: Sequence[str] | None = None, prog: str = "python -m export.admit") -> int:
    """Returns 0; 1 if NEW is worse by the verdict; 2 if NEW, BUNDLE or FILE is wrong."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    try:
        arguments = read_command_line(AdmitArguments, argv, prog)
        admit(arguments.new, arguments.verdict, arguments.out)
    except WorseError as error:
        print(f"admit: no bundle replaced: {error}", file=sys.stderr)
        return 1
    except (UsageError, VerdictError, BundleError, OSError) as error:
        print(f"admit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("admit: stopped; no bundle replaced", file=sys.stderr)
        return 130
    return 0


def admit(new: Path, verdict_file: Path, out: Path) -> None:
    """Replaces the bundle `out` by a copy of the bundle `new`, stamped with the verdict.

    The old bundle stays until the new one is complete, and then in `kept_beside(out)`. Raises
    BundleError if one of them is not a complete bundle, VerdictError if the verdict is not about
    these two, WorseError if the verdict refuses the new bundle, OSError.
    """
    ours, theirs = verify.read(new).manifest, verify.read(out).manifest
    verdict = _read_verdict(verdict_file)
    for folder, manifest, judged in ((new, ours, verdict.new), (out, theirs, verdict.old)):
        if manifest.checksum != judged.checksum:
            raise VerdictError(
                f"{verdict_file}: is not about {folder}, whose manifest has the checksum "
                f"{manifest.checksum[:12]}, but about {judged.checksum[:12]}; evaluate both "
                "bundles and compare them again"
            )
    if not verdict.admitted:
        raise WorseError(verdict.sentence)
    provenance = ours.provenance.model_copy(update={"gate": verdict.stamp()})
    stamped = ours.model_copy(update={"provenance": provenance})
    try:
        section = render_card("export", "gate_section.md.jinja", gate=verdict.stamp())
    except (jinja2.TemplateError, TypeError) as error:
        raise VerdictError(f"{verdict_file}: its figures cannot be read ({error})") from error
    with replacing(out) as folder:
        for name in ours.files:
            shutil.copyfile(new / name, folder / name)
        card = folder / bundle.MODEL_CARD
        text, _, _ = card.read_text(encoding="utf-8").partition(HEADING)
        # replaces an older section
        card.write_text(f"{text.rstrip()}\n\n{section}", encoding="utf-8")
        verify.seal(folder, stamped)
    log.info("replaced %s; the bundle before is in %s", out, kept_beside(out))


def _read_verdict(path: Path) -> Verdict:
    try:
        return Verdict.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        reason = ": ".join(filter(None, (place, problem["msg"])))
        raise VerdictError(
            f"{path}: not a verdict of training/evaluate.py --compare --gate ({reason})"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
