"""Fixtures for the service's tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from export import bundle
from service.engine.engine import Engine
from service.engine.runner import Runner
from tests.stepped import SteppedRunner


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DUET_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def engine(tiny_bundle: Path) -> Iterator[Engine]:
    """An engine of few rows, so that requests wait for each other."""
    engine = Engine.load(tiny_bundle, threads=1, max_rows=4)
    yield engine
    engine.close()


@pytest.fixture
def runner(tiny_bundle: Path) -> SteppedRunner:
    return SteppedRunner(bundle.read(tiny_bundle), threads=1)


@pytest.fixture
def stepped_engine(
    tiny_bundle: Path, runner: SteppedRunner, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """An engine whose steps happen when the test lets `runner` take them."""
    monkeypatch.setattr(Runner, "on", lambda *_: runner)
    engine = Engine(bundle.read(tiny_bundle), threads=1, max_rows=3)
    yield engine
    runner.release()
    engine.close()
