import asyncio
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from service.middleware.body_limits import BodyLimits


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture(scope="module")
def client() -> TestClient:
    middleware = [Middleware(BodyLimits, max_bytes=1000, max_seconds=60)]
    return TestClient(
        Starlette(routes=[Route("/", count, methods=["POST"])], middleware=middleware)
    )


def chunks(total: int) -> Iterator[bytes]:
    """A body that does not declare its size."""
    for _ in range(total // 100):
        yield b"x" * 100


def test_up_to_the_limit_all_is_well(client: TestClient) -> None:
    assert client.post("/", content=b"x" * 1000).text == "1000"
    assert client.post("/", content=chunks(1000)).text == "1000"


def test_over_the_limit_is_413_whether_declared_or_not(client: TestClient) -> None:
    assert client.post("/", content=b"x" * 1001).status_code == 413
    assert client.post("/", content=chunks(1100)).status_code == 413


async def read(sent: list[Message]) -> list[Message]:
    """What an application receives that reads on after the body; the client then stays."""
    received: list[Message] = []

    async def app(_: Scope, receive: Receive, __: Send) -> None:
        while True:
            received.append(await receive())

    async def receive() -> Message:
        if sent:
            return sent.pop(0)
        return await asyncio.get_running_loop().create_future()

    async def send(_: Message) -> None:
        pytest.fail("nobody answers")

    limits = BodyLimits(app, max_bytes=1000, max_seconds=0.01)
    try:
        async with asyncio.timeout(0.5):
            await limits({"type": "http"}, receive, send)
    except TimeoutError:
        return received


def test_a_stalled_body_is_408() -> None:
    part = {"type": "http.request", "body": b"x", "more_body": True}
    for sent in ([], [part], [part, part]):
        with pytest.raises(HTTPException) as refused:
            asyncio.run(read(sent))
        assert refused.value.status_code == 408
        assert refused.value.detail == "the body is not complete after 0.01 seconds"


def test_a_client_who_leaves_amid_a_body_is_499() -> None:
    part = {"type": "http.request", "body": b"x", "more_body": True}
    left = {"type": "http.disconnect"}
    for sent in ([left], [part, left]):
        with pytest.raises(HTTPException) as refused:
            asyncio.run(read(sent))
        assert refused.value.status_code == 499


def test_after_the_body_there_is_no_hurry() -> None:
    part = {"type": "http.request", "body": b"x", "more_body": True}
    last = {"type": "http.request", "body": b"x"}
    left = {"type": "http.disconnect"}
    assert asyncio.run(read([part, last, left])) == [part, last, left]
