from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tests.support.bundles import reference
from tests.support.tiny_students import Student, problems

TEXT = problems(1)[0]
INFER = "/v2/models/tiny/infer"


def tensor(*texts: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts, **changes}


def outputs(answer: dict[str, Any]) -> dict[str, Any]:
    return {output["name"]: output["data"] for output in answer["outputs"]}


def test_a_batch(client: TestClient, student: Student) -> None:
    texts = problems(3)
    response = client.post(INFER, json={"id": "a", "inputs": [tensor(*texts)]})
    assert response.status_code == 200
    answer = response.json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("tiny", "1", "a")
    assert outputs(answer)["label"] == [reference(student, text).label.text for text in texts]
    assert outputs(answer).keys() == {"label", "confidence", "answer", "scores", "score_labels"}
    predicted = client.post("/predict", json={"inputs": texts}).json()
    assert outputs(answer)["confidence"] == [each["confidence"] for each in predicted]
    assert float(response.headers["x-total-time"]) > 0


@pytest.mark.parametrize(
    "request_", [{"parameters": {"explain": True}}, {"outputs": [{"name": "rationale"}]}]
)
def test_a_rationale_for_who_asks(
    client: TestClient, student: Student, request_: dict[str, Any]
) -> None:
    answer = client.post(INFER, json={"inputs": [tensor(TEXT)], **request_}).json()
    assert outputs(answer)["rationale"] == [reference(student, TEXT).rationale.text]
    assert (len(answer["outputs"]) == 1) == ("outputs" in request_)


def test_parameters_are_those_of_predict(client: TestClient) -> None:
    parameters = {"explain": True, "max_rationale_tokens": 3, "truncate": True}
    long = " ".join(problems(20))
    answer = client.post(INFER, json={"inputs": [tensor(long)], "parameters": parameters}).json()
    predicted = client.post("/predict", json={"inputs": long, **parameters}).json()
    assert outputs(answer)["rationale"] == [predicted["rationale"]]


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        (INFER, {}, 422, "inputs: Field required"),
        (INFER, {"inputs": [tensor()]}, 422, "inputs: the list is empty"),
        (INFER, {"inputs": [tensor(5)]}, 422, "inputs[0]['text']: expected a string"),
        (INFER, {"inputs": [tensor("a\0")]}, 422, "inputs[0]['text']: expected text, got a NUL"),
        (INFER, {"inputs": [tensor("a"), tensor("b")]}, 422, "text: there are two tensors of"),
        (
            INFER,
            {"inputs": [tensor("a"), tensor("b", "c", name="other")]},
            422,
            "inputs: they have different numbers of rows, {'text': 1, 'other': 2}",
        ),
        (INFER, {"inputs": [tensor("a", name="b")]}, 422, "inputs[0]: text is missing"),
        (INFER, {"inputs": [tensor(*"abcd")]}, 413, "inputs: 4 of them, but a request may hold 3"),
        (
            INFER,
            {"inputs": [tensor("a")], "outputs": [{"name": "logits"}]},
            422,
            "outputs: there is no 'logits', but label, confidence, scores, score_labels, answer",
        ),
        ("/v2/models/nobody/infer", {"inputs": [tensor("a")]}, 404, "model 'nobody': unknown"),
        (
            "/v2/models/tiny/versions/2/infer",
            {"inputs": [tensor("a")]},
            404,
            "model tiny: has version 1, not '2'",
        ),
        ("/v2/nowhere", {}, 404, "POST /v2/nowhere: Not Found"),
        ("/v2", {}, 405, "POST /v2: Method Not Allowed"),
    ],
)
def test_errors_have_the_shape_of_the_protocol(
    client: TestClient, path: str, body: dict[str, Any], status: int, error: str
) -> None:
    response = client.post(path, json=body)
    assert response.status_code == status
    assert response.json().keys() == {"error"}
    assert response.json()["error"].startswith(error)


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({"content-encoding": "gzip"}, 415, "content-encoding: expected none, got gzip"),
        ({"inference-header-content-length": "-1"}, 422, "inference-header-content-length: Input"),
        ({"inference-header-content-length": "9"}, 422, "inference-header-content-length: 9, but"),
        ({"x-request-timeout": "0"}, 422, "x-request-timeout: Input should be greater than 0"),
    ],
)
def test_headers_that_are_wrong(
    client: TestClient, headers: dict[str, str], status: int, error: str
) -> None:
    response = client.post(INFER, content=b"{}", headers=headers)
    assert (response.status_code, response.json().keys()) == (status, {"error"})
    assert response.json()["error"].startswith(error)


def test_a_body_too_large(client: TestClient) -> None:
    response = client.post(INFER, content=b"a" * 200_000)
    assert (response.status_code, response.json().keys()) == (413, {"error"})


def test_health_of_a_dead_engine(stepped_client: TestClient, stepped_engine: Engine) -> None:
    paths = ("/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready")
    assert [stepped_client.get(path).status_code for path in paths] == [200] * 3
    stepped_engine.close()
    for path in paths:
        response = stepped_client.get(path)
        assert (response.status_code, response.json().keys()) == (503, {"error"})


def test_keys_are_needed_but_for_health(tiny_bundle: Path) -> None:
    settings = Settings(models=[tiny_bundle], threads=1, max_rows=2, api_keys=["secret"])
    with TestClient(create_app(settings, Registry.load(settings))) as client:
        assert client.get("/v2/health/ready").json() == {"ready": True}
        for path in ("/v2", "/v2/models/tiny", "/v2/models/tiny/ready"):
            refused = client.get(path)
            assert (refused.status_code, refused.json().keys()) == (401, {"error"})
            assert client.get(path, headers={"x-api-key": "secret"}).status_code == 200
        assert client.post(INFER, json={"inputs": [tensor("Ann")]}).status_code == 401


def test_a_student_without_rationales_has_no_such_output(labels_only_client: TestClient) -> None:
    told = labels_only_client.get("/v2/models/plain").json()
    assert [output["name"] for output in told["outputs"]] == [
        *("label", "confidence", "scores", "score_labels", "answer")
    ]
    for wish in ({"parameters": {"explain": True}}, {"outputs": [{"name": "rationale"}]}):
        refused = labels_only_client.post(
            "/v2/models/plain/infer", json={"inputs": [tensor(TEXT)], **wish}
        )
        assert refused.status_code == 422
        assert "plain was trained without rationales" in refused.json()["error"]
    plain = labels_only_client.post("/v2/models/plain/infer", json={"inputs": [tensor(TEXT)]})
    assert "label" in outputs(plain.json())
