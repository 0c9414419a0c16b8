"""Fixtures for the service's tests."""

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tests.support.engines import engine, no_settings_from_outside, stepped_engine

__all__ = ["engine", "no_settings_from_outside", "stepped_engine"]  # fixtures


@pytest.fixture(scope="session")
def client(engine: Engine) -> TestClient:
    settings = Settings(max_client_batch=3, max_body_bytes=100_000)
    return TestClient(create_app(settings, Registry({"tiny": engine})))


@pytest.fixture
def stepped_client(stepped_engine: Engine) -> TestClient:
    """Its engine steps when the test lets it."""
    return TestClient(create_app(Settings(), Registry({"tiny": stepped_engine})))
