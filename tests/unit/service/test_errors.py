import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from service.errors import EmptyInput, EngineUnavailable, Overloaded, install_handlers


class Body(BaseModel):
    number: int


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    install_handlers(app)

    @app.get("/empty")
    async def empty() -> None:
        raise EmptyInput("text is empty \ud800")

    @app.get("/long")
    async def long() -> None:
        raise EngineUnavailable("x" * 10**6)

    @app.get("/full")
    async def full() -> None:
        raise Overloaded("come back", retry_after=7)

    @app.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("secret")

    @app.post("/body")
    async def body(body: Body) -> None:
        del body

    return TestClient(app, raise_server_exceptions=False)


def post(client: TestClient, content: str | bytes) -> tuple[int, dict[str, str]]:
    response = client.post("/body", content=content, headers={"content-type": "application/json"})
    return response.status_code, response.json()


def test_a_service_error_has_its_status_and_type(client: TestClient) -> None:
    response = client.get("/empty")
    assert "retry-after" not in response.headers
    assert response.status_code == 400
    assert response.json() == {"error": r"text is empty \ud800", "error_type": "empty_input"}


def test_who_is_refused_learns_when_to_come_back(client: TestClient) -> None:
    response = client.get("/full")
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert response.json() == {"error": "come back", "error_type": "overloaded"}


def test_a_long_message_is_cut(client: TestClient) -> None:
    response = client.get("/long")
    assert response.status_code == 503
    assert len(response.json()["error"]) == 1001


def test_a_bug_shows_nothing_of_itself(client: TestClient) -> None:
    response = client.get("/bug")
    assert response.status_code == 500
    assert response.json()["error_type"] == "internal"
    assert "secret" not in response.text


def test_validation_names_the_field(client: TestClient) -> None:
    status, answer = post(client, '{"number": "x"}')
    assert (status, answer["error_type"]) == (422, "validation")
    assert answer["error"].startswith("number: Input should be a valid integer")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"number": ', "Expecting value at character 11"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"number": "\xff"}', "it is not UTF-8 at byte 12"),
        (b'{"number": ' + b"9" * 5000 + b"}", "a number in it has too many digits"),
    ],
)
def test_what_is_no_json_says_why(client: TestClient, content: bytes, reason: str) -> None:
    status, answer = post(client, content)
    assert (status, answer["error_type"]) == (400, "invalid_json")
    assert answer["error"] == f"the body is not JSON: {reason}"


@pytest.mark.parametrize(
    ("method", "path", "status", "error_type"),
    [("GET", "/nowhere", 404, "not_found"), ("PUT", "/body", 405, "method_not_allowed")],
)
def test_errors_of_the_framework_have_the_same_shape(
    client: TestClient, method: str, path: str, status: int, error_type: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error_type"] == error_type
    assert path in response.json()["error"]
    if status == 405:
        assert response.headers["allow"] == "POST"
