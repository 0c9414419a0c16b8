"""Fixtures for the service's tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.admission import Admission
from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tests.support.server_process import admission_of
from tests.support.stepped_runner import SteppedRunner, stepped_engine_of


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
def stepped_engine(tiny_bundle: Path, runner: SteppedRunner) -> Iterator[Engine]:
    with stepped_engine_of(runner, tiny_bundle) as engine:
        yield engine


@pytest.fixture(scope="session")
def client(engine: Engine) -> TestClient:
    settings = Settings(max_client_batch=3, max_body_bytes=100_000)
    return TestClient(create_app(settings, Registry({"tiny": engine}, settings)))


@pytest.fixture
def admission(client: TestClient) -> Admission:
    """That of the client's model."""
    return admission_of(client.app)


@pytest.fixture
def stepped_client(stepped_engine: Engine) -> TestClient:
    """Its engine steps when the test lets it."""
    settings = Settings(max_rows=3)  # the engine's
    return TestClient(create_app(settings, Registry({"tiny": stepped_engine}, settings)))


@pytest.fixture
def stepped_admission(stepped_client: TestClient) -> Admission:
    return admission_of(stepped_client.app)
