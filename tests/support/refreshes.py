"""Refreshes in this process, of a student that is there already: nothing is trained."""

import shutil
from pathlib import Path

import pytest

from duet.refresh import __main__ as refresh
from duet.refresh.errors import RefreshError, WorseError
from duet.refresh.stages import Stage
from training.evaluate import main as evaluate

KEY = "secret"


def prepare(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    """Makes the new student's bundle a copy of `bundle`, and KEY the admin key."""

    def making(recipe: Path, overrides: list[str], checkpoint: Path, *_: str) -> list[Stage]:
        return [Stage("copy", ["copy", str(bundle), str(checkpoint / "bundle")])]

    def run(stage: Stage, log: Path) -> None:
        command, *arguments = stage.command
        if command == "copy":
            shutil.copytree(*arguments, dirs_exist_ok=True)
        elif status := evaluate(arguments):
            raise {1: WorseError, 2: RefreshError}[status](f"{stage.title}: {status}")

    monkeypatch.setattr(refresh, "making", making)
    monkeypatch.setattr(Stage, "run", run)
    monkeypatch.setenv("DUET_ADMIN_KEY", KEY)
