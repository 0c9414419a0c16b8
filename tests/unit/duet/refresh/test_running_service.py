"""What the service is asked, and what every kind of answer becomes."""

import socket

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from duet.refresh import running_service
from duet.refresh.errors import RefreshError
from duet.refresh.running_service import RefusedError, RunningService, UnreachableError
from tests.support.server_process import serve_here


def answering(response: Response) -> Starlette:
    async def answer(_: Request) -> Response:
        return response

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (PlainTextResponse("hello"), "not a Duet service; expected one of this version"),
        (PlainTextResponse("gone", 404), "HTTP status 404, so not a Duet service; expected one"),
        (
            JSONResponse({"error": "GET /admin/models: Not Found; see /docs"}, 404),
            "GET /admin/models: Not Found; see /docs; expected one of this version, with its admin",
        ),
        (
            JSONResponse({"error": "this would reach only one replica"}, 404),  # of a proxy
            "this would reach only one replica",
        ),
        (
            JSONResponse({"error": "a key is needed", "error_type": "unauthenticated"}, 401),
            "a key is needed; set DUET_ADMIN_KEY to one of the service's DUET_ADMIN_KEYS",
        ),
        (
            JSONResponse({"error": "unknown key", "error_type": "forbidden"}, 403),
            "unknown key; DUET_ADMIN_KEY must be one of the service's DUET_ADMIN_KEYS",
        ),
        (
            JSONResponse({"error": "set some with DUET_ADMIN_KEYS", "error_type": "x"}, 403),
            "set some with DUET_ADMIN_KEYS",
        ),
        (
            JSONResponse({"error": "tokenizer.json: 2 bytes", "error_type": "model_refused"}, 422),
            "tokenizer.json: 2 bytes",
        ),
    ],
)
def test_answers_that_are_none(response: Response, message: str) -> None:
    with serve_here(answering(response)) as (host, port):
        url = f"http://{host}:{port}"
        with RunningService(f"{url}/", "key") as service, pytest.raises(RefusedError) as raised:
            service.load("tiny")
    said = str(raised.value)
    assert said.startswith(f"{url}: {message}")
    assert said.count("DUET_ADMIN_KEYS") < 2


def test_a_service_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    expected = f"{url}: no service can be reached .*--url"
    with RunningService(url, "key") as service, pytest.raises(UnreachableError, match=expected):
        service.sources()


def test_a_service_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_service, "QUESTION_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        expected = "no answer in 0 seconds"
        with RunningService(url, "key") as service, pytest.raises(UnreachableError, match=expected):
            service.sources()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "localhost", "ftp://a", "http://", "http://a:b"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(RefreshError, match=r"--url: expected .*http://127\.0\.0\.1:8000, got '"):
        RunningService(url, "key")


@pytest.mark.parametrize(
    ("key", "said"),
    [("", "got nothing; set"), ("two words", "got a text that is no key"), ("ü", "")],
)
def test_a_key_that_is_none(key: str, said: str) -> None:
    with pytest.raises(RefreshError, match="DUET_ADMIN_KEY: expected one of") as raised:
        RunningService("http://a", key)
    assert said in str(raised.value)
    assert not key or key not in str(raised.value)
