"""A service in this process, with an admin key, that serves a bundle which may be replaced."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from duet.refresh.running_service import RunningService
from service.app import create_app
from service.registry import Registry
from service.settings import Settings
from tests.support.bundles import copy_bundle
from tests.support.engines import no_settings_from_outside
from tests.support.refreshes import KEY
from tests.support.server_process import serve_here

__all__ = ["no_settings_from_outside"]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The bundle that is served: tiny, version 1, in another folder."""
    return copy_bundle(tiny_bundle, tmp_path / "models" / "mine")


@pytest.fixture
def registry(bundle: Path) -> Iterator[Registry]:
    """It serves the bundle, and offers those that come into its folder."""
    settings = Settings(models=[bundle.parent], threads=1, max_rows=2, admin_keys=[KEY])
    registry = Registry.load(settings)
    yield registry
    registry.close()


@pytest.fixture
def url(registry: Registry) -> Iterator[str]:
    settings = Settings(admin_keys=[KEY])
    with serve_here(create_app(settings, registry)) as (host, port):
        yield f"http://{host}:{port}"


@pytest.fixture
def service(url: str) -> Iterator[RunningService]:
    with RunningService(url, KEY) as service:
        yield service
