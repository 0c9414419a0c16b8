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
        """Runs the command, and adds what it prints to the file `log`. Shows its warnings.

        Raises WorseError if it ends with 1, and RefreshError if it fails otherwise. After SIGINT or
        SIGTERM it stops the command and raises KeyboardInterrupt.
        """
        libc = ctypes.CDLL(None)
        last = ""
        with (
            log.open("a", encoding="utf-8") as file,
            subprocess.Popen(
                [sys.executable, "-m", "duet", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},  # the last line must come last
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C must reach it once, from here
                # it must end with this process, even after SIGKILL
                preexec_fn=lambda: libc.prctl(DIE_WITH_PARENT, signal.SIGTERM),
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    file.write(line)
                    file.flush()
                    last = line.strip() or last
                    if line.startswith("warning: "):
                        print("refresh:", line.strip(), file=sys.stderr)
                status = process.wait()
            except BaseException:
                process.terminate()  # it keeps what it has done
                file.writelines(process.stdout)  # else it could wait for a reader
                raise
        if status == 1:
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
            "fit its confidence",
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


def comparing(checkpoint: Path, bundle: Path, data: str) -> list[Stage]:
    """The stages that leave `gate/verdict.json` in `checkpoint`. The last one is the gate."""
    gate = checkpoint / "gate"
    new, old = str(gate / "new"), str(gate / "old")
    return [
        Stage(
            f"ask it about {data}",
            ["evaluate", str(checkpoint / "bundle"), "--data", data, "--out", new, "--force"],
        ),
        Stage(
            f"ask {bundle} about {data}",
            ["evaluate", str(bundle), "--data", data, "--out", old, "--force"],
        ),
        Stage(
            "compare the two",
            ["evaluate", "--compare", new, old, "--gate", "--out", str(gate)],
        ),
    ]
