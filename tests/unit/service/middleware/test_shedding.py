import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tests.support.bundles import copy_bundle
from tests.support.server_process import admission_of
from tests.support.tiny_students import problems

TEXT = problems(1)[0]
TENSOR = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}


class Models:
    """Two models, of which some have no room."""

    def __init__(self, engines: dict[str, Engine]) -> None:
        settings = Settings(api_keys="key", max_body_bytes=10_000, max_rows=2, max_queue=2)
        self.client = TestClient(create_app(settings, Registry(engines, settings)))

    def post(self, full: set[str], path: str, **request: object) -> Response:
        async def post() -> Response:
            async with AsyncExitStack() as held:
                for name in full:
                    admission = admission_of(self.client.app, name)
                    await held.enter_async_context(admission.admit(admission.max_inputs))
                return self.client.post(path, **request)

        return asyncio.run(post())


@pytest.fixture(scope="module")
def models(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    folder = tmp_path_factory.mktemp("models")
    engines = {}
    for name in ("a", "b"):
        bundle = copy_bundle(tiny_bundle, folder / name, name=name)
        engines[name] = Engine.load(bundle, threads=1, max_rows=2)
    yield Models(engines)
    for engine in engines.values():
        engine.close()


@pytest.mark.parametrize("content", [b"", b'{"inputs', b'{"inputs": "a"}', b"x" * 20_000])
def test_without_any_room_neither_key_nor_body_is_looked_at(models: Models, content: bytes) -> None:
    response = models.post({"a", "b"}, "/predict", content=content)
    assert response.status_code == 429
    assert response.json()["error_type"] == "overloaded"
    assert response.json()["error"].startswith("4 of at most 4 inputs are in work already")
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["x-request-id"]
    status = 413 if len(content) > 10_000 else 401
    assert models.post(set(), "/predict", content=content).status_code == status


def test_where_one_model_has_room_the_body_says_which_is_meant(models: Models) -> None:
    headers = {"x-api-key": "key"}
    for name, status in (("a", 429), ("b", 200)):
        body = {"inputs": TEXT, "model": name}
        assert models.post({"a"}, "/predict", json=body, headers=headers).status_code == status


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_below_v2_the_path_says_which_model_is_meant(models: Models, version: str) -> None:
    body = {"inputs": [TENSOR]}
    refused = models.post({"a"}, f"/v2/models/a{version}/infer", json=body)
    assert refused.status_code == 429
    assert refused.json().keys() == {"error"}
    other = models.post({"a"}, f"/v2/models/b{version}/infer", json=body)
    assert other.status_code == 401
    unknown = models.post({"a", "b"}, "/v2/models/c/infer", headers={"x-api-key": "key"}, json=body)
    assert unknown.status_code == 404


def test_the_rest_of_the_service_goes_on(models: Models) -> None:
    client = models.client
    for path, status in (("/predict/", 307), ("/nowhere", 404), ("/models", 405)):
        response = models.post({"a", "b"}, path, follow_redirects=False)
        assert response.status_code == status
    assert client.get("/livez").status_code == 200
    assert client.get("/predict").status_code == 405


def test_it_is_logged_and_counted_as_what_it_was(
    models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service.middleware.access")
    models.post({"a", "b"}, "/v2/models/a/infer")
    record = caplog.records[-1]
    assert (record.route, record.status) == ("/v2/models/{name}/infer", 429)
    assert record.error_type == "overloaded"
    counted = models.client.get("/metrics").text
    assert 'route="/v2/models/{name}/infer",status="429"' in counted
