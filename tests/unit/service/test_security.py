import hmac
import json

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from pydantic import SecretStr

from service.app import create_app
from service.engine.engine import Engine
from service.errors import install_handlers
from service.registry import Registry
from service.security import KeyRing, guarded
from service.settings import Settings
from tests.support.stepped_runner import SteppedRunner
from tests.support.tiny_students import problems

TEXT = problems(1)[0]
SETTINGS = {"api_keys": "user,another", "admin_keys": "chief"}


@pytest.fixture(scope="module")
def client(engine: Engine) -> TestClient:
    return TestClient(create_app(Settings(**SETTINGS), Registry({"tiny": engine})))


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer user"},
        {"authorization": "bearer another"},
        {"x-api-key": "user"},
        {"x-api-key": "chief"},
    ],
)
def test_a_key_opens(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/models", headers=headers).status_code == 200
    assert client.post("/predict", json={"inputs": TEXT}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "error_type"),
    [
        ({}, 401, "unauthenticated"),
        ({"authorization": "user"}, 401, "unauthenticated"),
        ({"authorization": "Basic user"}, 401, "unauthenticated"),
        ({"x-api-key": ""}, 401, "unauthenticated"),
        ({"x-api-key": "use"}, 403, "forbidden"),
        ({"x-api-key": "users"}, 403, "forbidden"),
        ({"x-api-key": "user,another"}, 403, "forbidden"),
        ({"authorization": "Bearer wrong"}, 403, "forbidden"),
        ({"authorization": "Bearer wrong", "x-api-key": "user"}, 403, "forbidden"),
        ({"x-api-key": "é".encode()}, 403, "forbidden"),
    ],
)
@pytest.mark.parametrize("path", ["/models", "/models/tiny", "/models/nobody", "/info"])
def test_without_a_right_key_it_stays_shut(
    client: TestClient, headers: dict[str, str], status: int, error_type: str, path: str
) -> None:
    response = client.get(path, headers=headers)
    assert (response.status_code, response.json()["error_type"]) == (status, error_type)
    assert response.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    response = client.post("/predict", json={"inputs": TEXT}, headers=headers)
    assert response.status_code == status


def test_health_needs_no_key(client: TestClient) -> None:
    for path in ("/livez", "/readyz", "/health"):
        assert client.get(path).status_code == 200


def test_the_document_tells_of_keys_where_there_are_any(engine: Engine) -> None:
    registry = Registry({"tiny": engine})
    shut, open_ = (
        create_app(Settings(**settings), registry).openapi()["paths"]
        for settings in (SETTINGS, {"admin_keys": "chief"})
    )
    for path, method in (("/predict", "post"), ("/models", "get"), ("/info", "get")):
        assert shut[path][method]["security"] == [{"HTTPBearer": []}, {"APIKeyHeader": []}]
        assert {"401", "403"} <= shut[path][method]["responses"].keys()
        assert "security" not in open_[path][method]
        assert not {"401", "403"} & open_[path][method]["responses"].keys()
    assert "security" not in shut["/livez"]["get"]


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, by their digests, whichever it is."""
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda a, b: compared.append((a, b)) or compare(a, b)
    )
    ring = KeyRing([SecretStr("first"), SecretStr("second"), SecretStr("third")])
    for given in ("first", "third", "", "x" * 100_000):
        compared.clear()
        assert (ring._find(given) is None) == (given not in ("first", "third"))
        assert len(compared) == 3
        assert {len(digest) for pair in compared for digest in pair} == {32}


def test_a_ring_without_keys_opens_to_nobody() -> None:
    app = FastAPI(**guarded(KeyRing(Settings(api_keys="user").admin)))
    install_handlers(app)

    @app.get("/")
    async def shut() -> None:
        pytest.fail("it was open")

    client = TestClient(app)
    for headers in ({}, {"x-api-key": "user"}):
        response = client.get("/", headers=headers)
        assert response.status_code == 403
        assert "set some with DUET_ADMIN_KEYS" in response.json()["error"]


def test_a_key_may_have_so_much_in_work(
    stepped_engine: Engine, runner: SteppedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream counts until its end."""
    settings = Settings(**SETTINGS, max_requests_per_key=1)
    app = create_app(settings, Registry({"tiny": stepped_engine}))
    meanwhile: list[Response] = []
    decode_settled = stepped_engine._text.decode_settled

    def ask_meanwhile(ids: list[int]) -> str:
        if not meanwhile:
            client = TestClient(app)
            for key in ("user", "another"):
                meanwhile.append(client.get("/models", headers={"x-api-key": key}))
        return decode_settled(ids)

    monkeypatch.setattr(stepped_engine._text, "decode_settled", ask_meanwhile)
    runner.release()
    body = {"inputs": TEXT, "explain": True, "stream": True}
    for _ in range(2):
        response = TestClient(app).post("/predict", json=body, headers={"x-api-key": "user"})
        assert response.status_code == 200
    refused, answered = meanwhile
    assert (refused.status_code, answered.status_code) == (429, 200)
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error_type"] == "overloaded"


def test_keys_show_nowhere() -> None:
    settings = Settings(**SETTINGS)
    for shown in (repr(settings), str(settings), json.dumps(settings.model_dump(mode="json"))):
        assert "user" not in shown
        assert "chief" not in shown
