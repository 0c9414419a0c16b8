"""Programs that must work where torch is not installed."""

import os
from pathlib import Path

import pytest

from tests.support.server_process import ROOT

NO_TORCH = """
import sys

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Guard())
"""


@pytest.fixture
def no_torch(tmp_path: Path) -> str:
    """A PYTHONPATH on which torch cannot be imported."""
    (tmp_path / "sitecustomize.py").write_text(NO_TORCH)
    return f"{tmp_path}{os.pathsep}{ROOT}"
