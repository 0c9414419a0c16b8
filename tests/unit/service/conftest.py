"""Fixtures for the service's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.admission import Admission
from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tests.support.engines import engine, no_settings_from_outside, stepped_engine
from tests.support.server_process import admission_of

__all__ = ["engine", "no_settings_from_outside", "stepped_engine"]  # fixtures


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


@pytest.fixture(scope="session")
def labels_only_client(labels_only_bundle: Path) -> Iterator[TestClient]:
    """Its model, plain, does not explain."""
    engine = Engine.load(labels_only_bundle, threads=1, max_rows=2)
    yield TestClient(create_app(Settings(), Registry({"plain": engine})))
    engine.close()
