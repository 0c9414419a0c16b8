from fastapi.testclient import TestClient

from tests.support.bundles import LIMITS, TASK
from tests.support.tiny_students import problems


def test_a_model_tells_what_it_takes(client: TestClient) -> None:
    model = client.get("/models/tiny").json()
    assert (model["name"], model["version"], model["default"]) == ("tiny", "1", True)
    assert model["task"] == TASK.model_dump()
    assert model["limits"] == LIMITS.model_dump()
    assert model["provenance"]["base_model"] == "random"
    assert model["form"] == {"text": "…"}
    assert model["examples"] == [{"text": text} for text in problems(2)]
    assert model["explains"] is True
    assert client.get("/models").json() == [model]


def test_a_model_tells_that_it_does_not_explain(labels_only_client: TestClient) -> None:
    assert labels_only_client.get("/models/plain").json()["explains"] is False


def test_an_unknown_model_is_not_found(client: TestClient) -> None:
    response = client.get("/models/nobody")
    assert response.status_code == 404
    assert response.json()["error_type"] == "model_not_found"


def test_info_tells_the_limits(client: TestClient) -> None:
    info = client.get("/info").json()
    assert (info["default_model"], info["models"]) == ("tiny", ["tiny"])
    assert (info["max_client_batch"], info["max_body_bytes"]) == (3, 100_000)
    assert (info["max_queue"], info["timeout"]) == (256, 60.0)
