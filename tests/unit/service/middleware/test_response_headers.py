import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings


def client_of(engine: Engine, **settings: object) -> TestClient:
    return TestClient(create_app(Settings(**settings), Registry({"tiny": engine})))


def test_pages_may_use_nothing_from_elsewhere(engine: Engine) -> None:
    client = client_of(engine)
    page = client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-content-type-options"] == "nosniff"
    answer = client.get("/models")
    assert "content-security-policy" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_docs_may_be_shut(engine: Engine) -> None:
    client = client_of(engine, docs=False)
    for path in ("/docs", "/openapi.json", "/redoc"):
        assert client.get(path).status_code == 404
    assert client.get("/models").status_code == 200


@pytest.mark.parametrize("origins", ["https://a.example", "*"])
def test_other_origins_may_ask_where_they_are_named(engine: Engine, origins: str) -> None:
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    asked["access-control-request-headers"] = "content-type, x-api-key, x-request-timeout"
    client = client_of(engine, cors_origins=origins)
    allowed = client.options("/predict", headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == origins
    answer = client.get("/models", headers={"origin": "https://a.example"})
    assert answer.headers["access-control-allow-origin"] == origins
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    if origins != "*":
        asked["origin"] = "https://b.example"
        refused = client.options("/predict", headers=asked)
        assert "access-control-allow-origin" not in refused.headers


def test_other_origins_may_not_ask_unless_they_are_named(engine: Engine) -> None:
    answer = client_of(engine).get("/models", headers={"origin": "https://a.example"})
    assert not any(name.startswith("access-control") for name in answer.headers)
