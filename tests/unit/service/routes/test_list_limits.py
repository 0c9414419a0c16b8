"""How long a list may be: for an idle model, and for one with requests in work."""

import asyncio

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tests.support.server_process import admission_of
from tests.support.tiny_students import problems

TEXT = problems(1)[0]


@pytest.fixture(scope="module")
def client(engine: Engine) -> TestClient:
    """With two places, fewer than a list may hold inputs."""
    settings = Settings(max_rows=1, max_queue=1, max_client_batch=4)
    return TestClient(create_app(settings, Registry({"tiny": engine}, settings)))


def tensor(count: int) -> dict[str, object]:
    return {"name": "text", "datatype": "BYTES", "shape": [count], "data": [TEXT] * count}


def status(client: TestClient, path: str, count: int, busy: int) -> tuple[int, str]:
    """The status and the error of a list of `count`, while `busy` other inputs are in work."""
    body = {"inputs": [tensor(count)] if path.startswith("/v2") else [TEXT] * count}

    async def post() -> tuple[int, str]:
        if not busy:
            response = client.post(path, json=body)
        else:
            async with admission_of(client.app).admit(busy):
                response = client.post(path, json=body)
        content = response.json()
        return response.status_code, content.get("error", "") if response.is_error else ""

    return asyncio.run(post())


@pytest.mark.parametrize("path", ["/predict", "/v2/models/tiny/infer"])
def test_an_idle_model_answers_every_list_that_a_request_may_hold(
    client: TestClient, path: str
) -> None:
    for count in (1, 2, 3, 4):
        assert status(client, path, count, busy=0) == (200, "")
    found, error = status(client, path, 5, busy=0)
    assert (found, error) == (413, "inputs: 5 of them, but a request may hold 4")


@pytest.mark.parametrize("path", ["/predict", "/v2/models/tiny/infer"])
def test_a_busy_model_answers_what_it_has_places_for(client: TestClient, path: str) -> None:
    assert status(client, path, 1, busy=1) == (200, "")
    in_work = "1 of at most 2 inputs are in work already; "
    assert status(client, path, 2, busy=1) == (429, in_work + "send the request again later")
    alone = "a list of 4 must wait until none is; send fewer at once"
    assert status(client, path, 4, busy=1) == (429, in_work + alone)
    assert status(client, path, 5, busy=1)[0] == 413  # never 429: it would be refused again


def test_a_stream_is_one_input(client: TestClient) -> None:
    body = {"inputs": TEXT, "stream": True}

    async def post(busy: int) -> int:
        async with admission_of(client.app).admit(busy):
            return client.post("/predict", json=body).status_code

    assert [asyncio.run(post(busy)) for busy in (1, 2)] == [200, 429]
