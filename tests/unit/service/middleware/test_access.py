import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.engine import Engine
from service.errors import EmptyInput, install_handlers
from service.logs import request_id
from service.metrics import Metrics
from service.middleware.access import PROBES, Access
from service.registry import Registry
from service.settings import Settings


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.add_middleware(Access, metrics=Metrics(Registry({})))
    install_handlers(app)

    @app.get("/things/{name}")
    async def thing(name: str) -> str:
        return request_id.get() + name

    @app.get("/empty")
    async def empty() -> None:
        raise EmptyInput("empty")

    @app.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("path", "status"), [("/things/a", 200), ("/empty", 400), ("/bug", 500), ("/nowhere", 404)]
)
def test_every_answer_has_the_id_that_was_given(client: TestClient, path: str, status: int) -> None:
    response = client.get(path, headers={"X-Request-ID": "trace-1/2"})
    assert response.status_code == status
    assert response.headers["x-request-id"] == "trace-1/2"


@pytest.mark.parametrize("given", [None, "", "a b", "é", "a" * 129, "a\tb"])
def test_an_id_that_is_missing_or_unfit_is_made(client: TestClient, given: str | None) -> None:
    headers = {} if given is None else {"x-request-id": given.encode()}
    first, second = (client.get("/things/a", headers=headers) for _ in range(2))
    assert len(first.headers["x-request-id"]) == 32
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.json() == first.headers["x-request-id"] + "a"


@pytest.mark.parametrize(
    ("path", "route", "status", "error_type"),
    [
        ("/things/a?secret=1", "/things/{name}", 200, None),
        ("/empty", "/empty", 400, "empty_input"),
        ("/bug", "/bug", 500, "internal"),
        ("/nowhere%0Aforged", "other", 404, "not_found"),
    ],
)
def test_every_request_is_logged(
    client: TestClient,
    caplog: pytest.LogCaptureFixture,
    path: str,
    route: str,
    status: int,
    error_type: str | None,
) -> None:
    caplog.set_level(logging.INFO, "service.middleware.access")
    client.get(path)
    (record,) = (record for record in caplog.records if record.name == "service.middleware.access")
    assert (record.method, record.route, record.status) == ("GET", route, status)
    assert record.error_type == error_type
    assert record.path == path.partition("?")[0]
    assert record.total_ms >= 0
    message = record.getMessage()
    assert message.startswith(f"GET {record.path} {status} in ")
    assert "secret" not in message
    assert "\n" not in message


@pytest.mark.parametrize("path", sorted(PROBES))
def test_probes_are_logged_as_debug_while_they_succeed(
    stepped_engine: Engine, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.DEBUG, "service.middleware.access")
    client = TestClient(create_app(Settings(), Registry({"tiny": stepped_engine})))
    before = client.get(path)
    stepped_engine.close()
    after = client.get(path)
    records = [record for record in caplog.records if record.name == "service.middleware.access"]
    assert [before.status_code, after.status_code] == [record.status for record in records]
    assert records[0].levelno == logging.DEBUG
    assert records[1].levelno == (logging.DEBUG if path == "/metrics" else logging.INFO)
