import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from service.ray.proxy import DIED, middlewares


def client(app: ASGIApp) -> TestClient:
    (middleware,) = middlewares()
    return TestClient(middleware.cls(app, *middleware.args, **middleware.kwargs))


def dying(times: int) -> tuple[Callable[..., Any], list[bytes]]:
    """A proxy whose replica dies so often before it answers, and the bodies that it was sent."""
    bodies: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append(await Request(scope, receive).body())
        if len(bodies) > times:
            await JSONResponse({"label": "a"})(scope, receive, send)

    return app, bodies


def test_what_a_dead_replica_had_goes_to_another_one() -> None:
    app, bodies = dying(1)
    answer = client(app).post("/predict", content=[b"a", b"b"])
    assert (answer.status_code, answer.json()) == (200, {"label": "a"})
    assert bodies == [b"ab", b"ab"]


def test_after_a_second_death_the_client_is_told() -> None:
    app, bodies = dying(2)
    answer = client(app).post("/predict", content=b"a")
    assert answer.status_code == 503
    assert answer.json() == {"error": DIED, "error_type": "unavailable"}
    assert len(bodies) == 2


def test_nothing_is_sent_again_for_a_client_who_left() -> None:
    calls = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        while (await receive())["type"] != "http.disconnect":
            pass

    messages = iter([{"type": "http.request", "body": b"a"}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(_: Any) -> None:
        pass

    (middleware,) = middlewares()
    asyncio.run(middleware.cls(app)({"type": "http", "headers": []}, receive, send))
    assert calls == 1


def test_the_proxys_errors_have_the_services_shape() -> None:
    for status, error_type in (
        (404, "not_found"),
        (408, "deadline_exceeded"),
        (429, "overloaded"),
        (503, "unavailable"),
    ):
        headers = {"retry-after": "1", "x-request-id": "id"}
        answer = client(PlainTextResponse("why", status, headers)).get("/")
        assert answer.status_code == status
        assert answer.json() == {"error": "why", "error_type": error_type}
        assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("1", "id")


def test_the_services_answers_stay_and_an_id_stands_once() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = StreamingResponse(iter(["a", "b"]), 422, media_type="application/json")
        answer.raw_headers += [(b"x-request-id", b"id")] * 2
        await answer(scope, receive, send)

    answer = client(app).get("/")
    assert (answer.status_code, answer.text) == (422, "ab")
    assert answer.headers.get_list("x-request-id") == ["id"]
    text = client(PlainTextResponse("fine")).get("/")
    assert (text.status_code, text.text) == (200, "fine")
