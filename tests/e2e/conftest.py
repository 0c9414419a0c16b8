from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engine.engine import Engine
from tests.support.chromium import browser
from tests.support.stepped_runner import SteppedRunner, stepped_engine_of

__all__ = ["browser"]  # a fixture


@pytest.fixture
def undrafted_engine(tiny_bundle: Path, runner: SteppedRunner) -> Iterator[Engine]:
    """It steps when the test lets it, and takes a step for each token."""
    with stepped_engine_of(runner, tiny_bundle, speculate=False) as engine:
        yield engine
