from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from service.body_limit import BodyLimit


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture(scope="module")
def client() -> TestClient:
    middleware = [Middleware(BodyLimit, max_bytes=1000)]
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
