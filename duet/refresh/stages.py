"""The stages of a refresh before the replacement: each is a command of Duet, in a process."""

import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from duet.refresh.errors import RefreshError, WorseError

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass(frozen=True)
class Stage:
    """A command of `duet`, and what it does."""

    title: str
    command: list[str]

    def run(self, log: Path) -> None:
        """Runs the command, which writes to the end of the file `log`. Shows its warnings.

        Raises WorseError if it ends with 1, and RefreshError if it fails otherwise. After SIGINT or
        SIGTERM it stops the command and raises KeyboardInterrupt.
        """
        libc = ctypes.CDLL(None)
        # no pipe: without a reader, the command could not say or keep anything
        with log.open("ab") as file:
            begin = file.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "duet", *self.command],
                env=os.environ | {"PYTHONUNBUFFERED": "1"},  # the last line must come last
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C must reach it once, from here
                # it must end with this process, even after SIGKILL
                preexec_fn=lambda: libc.prctl(DIE_WITH_PARENT, signal.SIGTERM),
            )
        try:
            status = process.wait()
        except BaseException:
            process.terminate()  # it keeps what it has done
            process.wait()
            raise
        said = log.read_bytes()[begin:].decode(errors="replace").splitlines()
        for line in said:
            if line.startswith("warning: "):
                print("refresh:", line.strip(), file=sys.stderr)
        last = next(filter(None, map(str.strip, reversed(said))), "it said nothing")
        crashed = any(line.startswith("Traceback ") for line in said)  # which ends with 1, too
        if status == 1 and not crashed:
            raise WorseError(f"the new student is refused, nothing is replaced: {last}")
        if status:
            raise RefreshError(f"the step failed with status {status}, see {log}: {last}")


def making(
    recipe: Path, overrides: list[str], checkpoint: Path, data: str, version: str
) -> list[Stage]:
    """The stages that leave the new bundle in the folder `bundle` of `checkpoint`."""
    return [
        Stage(
            f"distil {recipe} into {checkpoint}",
            ["distill", str(recipe), f"output_dir={checkpoint}", *overrides],
        ),
        Stage(
            "calibrate its confidence",
            [
                *("evaluate", str(checkpoint), "--data", data, "--recipe", str(recipe), *overrides),
                *("--calibrate", "--out", str(checkpoint / "evaluation"), "--force"),
            ],
        ),
        Stage(
            f"export it, as version {version}",
            ["export", str(checkpoint), "--out", str(checkpoint / "bundle"), "--version", version],
        ),
    ]


def comparing(
    recipe: Path, overrides: list[str], checkpoint: Path, bundle: Path, data: str
) -> list[Stage]:
    """The stages that leave `gate/verdict.json` in `checkpoint`. The last one is the gate."""
    gate = checkpoint / "gate"
    new, old = str(gate / "new"), str(gate / "old")
    rows = ["--data", data, "--recipe", str(recipe), *overrides]  # the recipe names the columns
    return [
        Stage(
            f"evaluate it on {data}",
            ["evaluate", str(checkpoint / "bundle"), *rows, "--out", new, "--force"],
        ),
        Stage(
            f"evaluate {bundle} on {data}",
            ["evaluate", str(bundle), *rows, "--out", old, "--force"],
        ),
        Stage(
            "compare the two evaluations",
            ["evaluate", "--compare", new, old, "--gate", "--out", str(gate)],
        ),
    ]
