import logging

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings


@pytest.mark.parametrize(
    ("path", "status"),
    [("/models", 200), ("/models/tiny", 200), ("/models/b", 404), ("/livez", 200), ("/docs", 200)],
)
def test_head_is_get_without_the_body(engine: Engine, path: str, status: int) -> None:
    client = TestClient(create_app(Settings(), Registry({"tiny": engine})))
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code == status
    assert head.content == b""
    for name in ("content-type", "content-length"):
        assert head.headers[name] == get.headers[name]


def test_head_where_there_is_no_get(engine: Engine) -> None:
    client = TestClient(create_app(Settings(), Registry({"tiny": engine})))
    assert client.head("/predict").status_code == 405


def test_head_is_logged_as_head(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service.middleware.access")
    TestClient(create_app(Settings(), Registry({"tiny": engine}))).head("/models/tiny")
    (record,) = (record for record in caplog.records if record.name == "service.middleware.access")
    assert (record.method, record.route) == ("HEAD", "/models/{name}")
