"""`make` says in one line which setting is missing or names no file, before it starts a program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server_process import ROOT

RECIPE = "RECIPE=training/recipes/svamp-mini.yaml"
NO_RECIPE = "RECIPE: nope.yaml: no such file"
NO_CHECKPOINT = "CHECKPOINT: nope: no such folder; make distill with the same settings writes it"


@pytest.mark.parametrize(
    ("target", "settings", "complaint"),
    [
        ("init", [], "give ROWS=…: a file or a folder of rows"),
        ("distill", ["RECIPE=nope.yaml"], NO_RECIPE),
        ("evaluate", ["RECIPE=nope.yaml"], NO_RECIPE),
        ("export", ["RECIPE=nope.yaml"], NO_RECIPE),
        ("refresh", ["RECIPE=nope.yaml", "DATA=rows.jsonl"], NO_RECIPE),
        ("refresh", [], "give RECIPE=… DATA=…"),
        ("refresh", [RECIPE], "give DATA=…"),
        ("evaluate", [RECIPE, "CHECKPOINT=nope"], NO_CHECKPOINT),
        ("export", ["CHECKPOINT=nope"], NO_CHECKPOINT),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    target: str, settings: list[str], complaint: str
) -> None:
    made = ("ROWS", "RECIPE", "CHECKPOINT", "BUNDLE", "DATA", "MAKEFLAGS", "MAKELEVEL")
    done = subprocess.run(
        [
            *("make", "--no-print-directory", "--old-file", ".venv/.dev"),
            *(f"BIN={Path(sys.executable).parent}", target, *settings),
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in made},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    said, of_make = done.stderr.splitlines()
    assert said == f"{target}: {complaint}"
    assert of_make.startswith("make: *** ")
