"""Fixtures: both clients, and servers in this process."""

import time
from collections.abc import Iterator

import anyio
import pytest
from fastapi import FastAPI

from duet.client import Client
from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tests.support.clients import Connect, WaitedFor, Waits
from tests.support.server_process import serve_here


@pytest.fixture(scope="module", params=[Client, WaitedFor], ids=["blocking", "asynchronous"])
def connect(request: pytest.FixtureRequest) -> Connect:
    return request.param


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits()
    monkeypatch.setattr(time, "sleep", waits.wait)
    monkeypatch.setattr(anyio, "sleep", waits.wait_too)
    return waits


@pytest.fixture(scope="module")
def app(engine: Engine) -> FastAPI:
    return create_app(Settings(), Registry({"tiny": engine}))


@pytest.fixture(scope="module")
def duet(app: FastAPI, connect: Connect) -> Iterator[Client]:
    with serve_here(app) as (host, port), connect(f"http://{host}:{port}") as client:
        yield client


@pytest.fixture
def stepped_app(stepped_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """With an engine that steps when the test lets it, and that drafts nothing."""
    monkeypatch.setattr(stepped_engine, "_speculate", False)
    return create_app(Settings(), Registry({"tiny": stepped_engine}))


@pytest.fixture
def stepped(stepped_app: FastAPI, connect: Connect) -> Iterator[Client]:
    with serve_here(stepped_app) as (host, port), connect(f"http://{host}:{port}") as client:
        yield client
