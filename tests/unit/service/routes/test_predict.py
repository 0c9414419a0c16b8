import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from service.admission import Admission
from service.app import create_app
from service.engine.engine import Engine
from service.errors import INTERNAL
from service.registry import Registry
from service.settings import Settings
from tests.support.bundles import CHOICES, LIMITS, reference, write_bundle
from tests.support.server_process import serve_here, wait_until
from tests.support.stepped_runner import TIMEOUT, SteppedRunner
from tests.support.tiny_students import Student, problems

TEXT = problems(1)[0]


def test_one_input_one_answer(client: TestClient, student: Student) -> None:
    response = client.post("/predict", json={"inputs": TEXT})
    expected = reference(student, TEXT).label
    answer = response.json()
    assert response.status_code == 200
    assert answer.keys() == {
        "label",
        "confidence",
        "answer",
        "scores",
        "decoder_passes",
        "model",
        "version",
        "usage",
    }
    assert answer["label"] == expected.text
    assert (answer["model"], answer["version"]) == ("tiny", "1")
    assert answer["usage"]["label_tokens"] == len(expected.tokens)
    for stage in ("total", "tokenization", "queue", "inference"):
        assert float(response.headers[f"x-{stage}-time"]) >= 0


@pytest.mark.parametrize(
    ("query", "body", "explained"),
    [
        ("", {}, False),
        ("", {"explain": True}, True),
        ("?explain=true", {}, True),
        ("?explain=true", {"explain": False}, True),
        ("?explain=false", {"explain": True}, True),
        ("?explain=false", {}, False),
    ],
)
def test_explain_in_body_or_query(
    client: TestClient, student: Student, query: str, body: dict[str, bool], explained: bool
) -> None:
    answer = client.post(f"/predict{query}", json={"inputs": TEXT, **body}).json()
    assert answer["decoder_passes"] == 1 + explained
    assert ("rationale" in answer) == explained
    if explained:
        assert answer["rationale"] == reference(student, TEXT).rationale.text


def test_a_list_is_answered_in_its_order(client: TestClient, student: Student) -> None:
    texts = problems(3)
    inputs = [texts[0], {"text": texts[1]}, texts[2]]
    answers = client.post("/predict", json={"inputs": inputs, "model": "tiny"}).json()
    assert [answer["label"] for answer in answers] == [
        reference(student, text).label.text for text in texts
    ]
    (alone,) = client.post("/predict", json={"inputs": [TEXT]}).json()
    assert alone["label"] == answers[0]["label"]


@pytest.mark.parametrize(
    ("body", "status", "error_type", "message"),
    [
        ({"inputs": " "}, 400, "empty_input", "inputs: text is empty"),
        ({"inputs": [TEXT, ""]}, 400, "empty_input", "inputs[1]: text is empty"),
        ({"inputs": [TEXT, {"txt": ""}]}, 422, "validation", "inputs[1]: text is missing"),
        (
            {"inputs": "a" * 90_000},
            422,
            "too_many_tokens",
            "inputs: more than 1024 tokens, but tiny",
        ),
        ({"inputs": ["a"] * 4}, 413, "too_many_inputs", "inputs: 4 of them, but a request may"),
        ({"inputs": "a" * 100_000}, 413, "body_too_large", "the body is larger than 100000 bytes"),
        ({"inputs": "a", "model": "b"}, 404, "model_not_found", "model 'b': unknown"),
        ({"explain": True}, 422, "validation", "inputs: Field required"),
        (
            {"inputs": "a", "max_rationale_tokens": 49},
            422,
            "validation",
            "max_rationale_tokens: 49, but tiny writes from 1 to 48",
        ),
        ({"inputs": "a", "max_rationale_tokens": 0}, 422, "validation", "max_rationale_tokens: "),
        ({"inputs": ["a"], "stream": True}, 422, "validation", "stream: a list cannot be streamed"),
    ],
)
def test_bad_requests(
    client: TestClient, body: dict[str, Any], status: int, error_type: str, message: str
) -> None:
    response = client.post("/predict", json=body)
    assert response.status_code == status
    assert response.json()["error_type"] == error_type
    assert response.json()["error"].startswith(message)


def test_an_input_and_a_rationale_may_be_cut(client: TestClient, student: Student) -> None:
    body = {"inputs": "apples " * 100, "explain": True, "max_rationale_tokens": 5}
    assert client.post("/predict", json=body).json()["error_type"] == "too_many_tokens"
    usage = client.post("/predict", json=body | {"truncate": True}).json()["usage"]
    assert (usage["input_tokens"], usage["truncated"]) == (LIMITS.input_tokens, True)
    assert usage["rationale_tokens"] == 5
    usage = client.post("/predict", json=body | {"inputs": "Ann", "truncate": True}).json()["usage"]
    assert usage["truncated"] is False


def test_choices_and_top_k(tmp_path: Path, student: Student) -> None:
    write_bundle(tmp_path / "bundle", student, task=CHOICES)
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=2)
    client = TestClient(create_app(Settings(), Registry({"tiny": engine})))
    inputs = {"text": TEXT, "choices": ["pens", "apples", "stamps"]}
    every = client.post("/predict", json={"inputs": inputs}).json()
    assert sum(score["score"] for score in every["scores"]) == pytest.approx(1)
    assert {score["label"] for score in every["scores"]} == set(inputs["choices"])
    assert every["scores"][0] == {"label": every["label"], "score": every["confidence"]}
    assert every["usage"]["decoder_steps"] == 1
    (best,) = client.post("/predict", json={"inputs": [inputs], "top_k": 1}).json()
    assert best["scores"] == every["scores"][:1]
    for choices, status, message in (
        ([], 400, "inputs: choices is empty"),
        (["pens", ""], 400, "inputs: a label in choices is empty"),
        ("pens", 422, "inputs: choices is a string; expected"),
        (["pens", 5], 422, "inputs['choices'][1]: expected a string, got a number"),
    ):
        response = client.post("/predict", json={"inputs": inputs | {"choices": choices}})
        assert response.status_code == status
        assert response.json()["error"].startswith(message)
    engine.close()


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(client: TestClient, content_type: str) -> None:
    content = json.dumps({"inputs": TEXT}).encode()
    response = client.post("/predict", content=content, headers={"content-type": content_type})
    assert response.status_code == 415
    assert "expected application/json" in response.json()["error"]


def test_a_failing_model_is_unavailable(stepped_client: TestClient, runner: SteppedRunner) -> None:
    runner.fault = RuntimeError("out of memory")
    runner.release()
    response = stepped_client.post("/predict", json={"inputs": TEXT, "explain": True})
    assert response.status_code == 503
    assert response.json()["error_type"] == "unavailable"
    assert stepped_client.post("/predict", json={"inputs": TEXT}).status_code == 200


def test_a_poisoned_request_fails_alone(
    client: TestClient, engine: Engine, student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text cannot be decoded."""
    texts = problems(4)
    poison = reference(student, texts[1]).rationale.tokens
    decode = engine._text.decode

    def decode_unless_poison(tokens: list[int]) -> str:
        if tokens == poison:
            raise UnicodeError("secret")
        return decode(tokens)

    monkeypatch.setattr(engine._text, "decode", decode_unless_poison)
    client = TestClient(client.app, raise_server_exceptions=False)

    def ask(text: str) -> Response:
        return client.post("/predict", json={"inputs": text, "explain": True})

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, texts))
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    assert answers[1].json() == {"error": INTERNAL, "error_type": "internal"}
    for text, answer in zip(texts, answers, strict=True):
        if answer.status_code == 200:
            assert answer.json()["rationale"] == reference(student, text).rationale.text


def test_who_finds_no_room_is_refused_whole(client: TestClient, admission: Admission) -> None:
    async def ask_among_others() -> list[Response]:
        async with admission.admit(admission.max_inputs - 1):
            return [client.post("/predict", json={"inputs": [TEXT] * n}) for n in (2, 1)]

    refused, answered = asyncio.run(ask_among_others())
    assert refused.status_code == 429
    assert refused.json()["error_type"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    assert answered.status_code == 200
    assert client.post("/predict", json={"inputs": [TEXT] * 2}).status_code == 200


def test_a_deadline_cuts_a_rationale(
    stepped_client: TestClient, stepped_admission: Admission, runner: SteppedRunner
) -> None:
    """One that runs and, in as many rows as there are, others that wait for it."""
    runner.allowed.release(2)  # the third step does not end before the deadline
    stepped_admission.timeout = 1.0
    response = stepped_client.post("/predict", json={"inputs": [TEXT] * 4, "explain": True})
    assert response.status_code == 504
    assert response.json() == {
        "error": "not answered within 1 seconds; send less at once, or again later",
        "error_type": "deadline_exceeded",
    }
    cut = list(runner.rows)
    assert 1 <= len(cut) <= 3
    stepped_admission.timeout = 60.0
    runner.release()
    prediction = stepped_client.post("/predict", json={"inputs": TEXT}).json()
    # no row takes part in a step more than the one that it was cut in
    assert runner.rows == cut + [1] * prediction["usage"]["decoder_steps"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_may_have_a_deadline_of_its_own(stepped_client: TestClient, stream: bool) -> None:
    """No step is ever taken."""
    body = {"inputs": TEXT, "explain": True, "stream": stream}
    response = stepped_client.post("/predict", json=body, headers={"x-request-timeout": "0.01"})
    assert response.status_code == 504
    assert response.json()["error"].startswith("not answered within 0.01 seconds")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_deadline_that_is_no_time_is_refused(client: TestClient, seconds: str) -> None:
    headers = {"x-request-timeout": seconds}
    response = client.post("/predict", json={"inputs": TEXT}, headers=headers)
    assert response.status_code == 422
    assert response.json()["error_type"] == "validation"
    assert response.json()["error"].startswith("x-request-timeout: Input should be")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_who_leaves_gives_back_the_rows(
    stepped_client: TestClient, stepped_admission: Admission, runner: SteppedRunner, stream: bool
) -> None:
    """A real connection, closed in the midst of a rationale."""
    body = json.dumps({"inputs": TEXT, "explain": True, "stream": stream})
    head = f"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n"
    with serve_here(stepped_client.app) as (host, port):
        with socket.create_connection((host, port)) as connection:
            connection.sendall(f"{head}content-type: application/json\r\n\r\n{body}".encode())
            runner.allowed.release(2)
            for _ in range(3):
                runner.wait_for_step()
        wait_until(lambda: not stepped_admission.inputs)  # the server has noticed
        runner.release()
        url = f"http://{host}:{port}/predict"
        prediction = httpx.post(url, json={"inputs": TEXT}, timeout=TIMEOUT).json()
    # the step that it left in is the last one
    assert runner.rows == [2] * 3 + [1] * prediction["usage"]["decoder_steps"]


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("", {"explain": True}),
        ("?explain=true", {}),
        ("", {"explain": True, "stream": True}),
        ("", {"explain": True, "inputs": [TEXT, TEXT]}),
    ],
)
def test_a_student_without_rationales_refuses_to_explain(
    labels_only_client: TestClient, student: Student, query: str, changes: dict[str, Any]
) -> None:
    response = labels_only_client.post(f"/predict{query}", json={"inputs": TEXT, **changes})
    assert response.status_code == 422
    assert response.json() == {
        "error": "explain: plain was trained without rationales, so it gives labels only; ask for "
        "the label alone, or ask a model that explains (see /models)",
        "error_type": "validation",
    }
    answer = labels_only_client.post("/predict", json={"inputs": TEXT}).json()
    assert answer["label"] == reference(student, TEXT).label.text
    assert "rationale" not in answer
