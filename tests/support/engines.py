"""Fixtures: engines of the tiny bundle, and an environment without settings."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engine.engine import Engine
from tests.support.stepped_runner import SteppedRunner, stepped_engine_of


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DUET_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def engine(tiny_bundle: Path) -> Iterator[Engine]:
    """An engine with few rows, so that requests wait for each other."""
    engine = Engine.load(tiny_bundle, threads=1, max_rows=4)
    yield engine
    engine.close()


@pytest.fixture
def stepped_engine(tiny_bundle: Path, runner: SteppedRunner) -> Iterator[Engine]:
    """An engine whose steps the test allows."""
    with stepped_engine_of(runner, tiny_bundle) as engine:
        yield engine
