from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.word_problems import write_problems

RECIPE = ROOT / "tests" / "recipes" / "word-problems.yaml"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A command line that distils a few steps' worth into `tmp_path / "out"`."""
    write_problems(tmp_path / "train.jsonl", rows=60, seed=0)
    write_problems(tmp_path / "test.jsonl", rows=10, seed=1)
    return [
        str(RECIPE),
        f"data.train={tmp_path / 'train.jsonl'}",
        f"data.test={tmp_path / 'test.jsonl'}",
        f"output_dir={tmp_path / 'out'}",
        "steps=6",
        "eval_every=2",
        "batch_size=8",
        "validation_rows=12",
        "model.scratch.d_model=32",
    ]
