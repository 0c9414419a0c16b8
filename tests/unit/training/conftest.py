import os
import socket
from pathlib import Path

import pytest

from tests.support.evaluate_command import brief_checkpoint
from tests.support.simple_problems import distillation

__all__ = ["brief_checkpoint"]  # a fixture


@pytest.fixture(autouse=True)
def nobodys_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own endpoint and key are never used."""
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A command line that distils a few steps' worth into `tmp_path / "out"`."""
    out = tmp_path / "out"
    return distillation(tmp_path, f"output_dir={out}", "model.scratch.d_model=32")


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
