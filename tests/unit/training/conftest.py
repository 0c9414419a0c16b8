from pathlib import Path

import pytest

from tests.word_problems import distillation


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A command line that distils a few steps' worth into `tmp_path / "out"`."""
    out = tmp_path / "out"
    return distillation(tmp_path, f"output_dir={out}", "model.scratch.d_model=32")
