import pytest
from fastapi.testclient import TestClient

from service.engine.engine import Engine


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_a_running_engine_is_well(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_a_dead_engine_is_told_of(
    stepped_client: TestClient, stepped_engine: Engine, path: str
) -> None:
    stepped_engine.close()
    response = stepped_client.get(path)
    assert response.status_code == 503
    assert response.json() == {
        "error": "the engine of tiny has died",
        "error_type": "unavailable",
    }
