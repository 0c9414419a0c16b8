from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings


def test_the_docs_ask_nothing_of_other_hosts(engine: Engine) -> None:
    client = TestClient(create_app(Settings(), Registry({"tiny": engine})))
    page = client.get("/docs")
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/static-offline-docs/{asset}" in page.text
        assert client.get(f"/static-offline-docs/{asset}").status_code == 200


def test_errors_are_documented(engine: Engine) -> None:
    document = create_app(Settings(), Registry({"tiny": engine})).openapi()
    responses = document["paths"]["/predict"]["post"]["responses"]
    assert responses.keys() == {
        *("200", "400", "404", "408", "413", "415", "422", "429", "500", "503", "504")
    }
    for status, response in responses.items():
        if status != "200":
            schema = response["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorBody"}


def test_shutting_down_closes_the_engines(stepped_engine: Engine) -> None:
    with TestClient(create_app(Settings(), Registry({"tiny": stepped_engine}))):
        assert stepped_engine.alive
    assert not stepped_engine.alive
