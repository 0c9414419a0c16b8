"""A server, as its users meet it."""

import json
import shlex
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.support.bundles import reference
from tests.support.server_process import TIMEOUT, Server, serve
from tests.support.tiny_students import Student, problems

TEXT = problems(1)[0]
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serve(log, "--models", str(tiny_bundle), DUET_MAX_ROWS="4", DUET_THREADS="1") as server:
        yield server
        assert server.process.poll() is None
        assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
        yield client


def test_the_printed_command_works(server: Server, client: httpx.Client) -> None:
    line = next(line for line in server.log.read_text().splitlines() if "curl" in line)
    curl, url, header_flag, header, data_flag, body = shlex.split(line)
    assert (curl, header_flag, data_flag) == ("curl", "-H", "-d")
    name, _, value = header.partition(": ")
    answer = client.post(url, headers={name: value}, content=body).json()
    assert answer["model"] == "tiny"
    assert "rationale" in answer


def test_single_and_list(client: httpx.Client, student: Student) -> None:
    texts = problems(3)
    expected = [reference(student, text) for text in texts]
    answer = client.post("/predict", json={"inputs": texts[0], "explain": True}).json()
    assert (answer["label"], answer["rationale"]) == (
        expected[0].label.text,
        expected[0].rationale.text,
    )
    answers = client.post(
        "/predict?explain=true", json={"inputs": [texts[0], {"text": texts[1]}, texts[2]]}
    ).json()
    assert [answer["rationale"] for answer in answers] == [
        voices.rationale.text for voices in expected
    ]


def test_many_clients_at_once_get_what_each_gets_alone(
    client: httpx.Client, student: Student
) -> None:
    texts = problems(20) * 2

    def ask(item: tuple[int, str]) -> dict[str, object]:
        i, text = item
        return client.post("/predict", json={"inputs": text, "explain": i % 3 == 0}).json()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, enumerate(texts)))
    for i, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        label, rationale = reference(student, text)
        assert answer["label"] == label.text
        assert answer.get("rationale") == (rationale.text if i % 3 == 0 else None)


BAD_BODIES = {
    "no body": (b"", 422, "validation"),
    "cut JSON": (b'{"inputs": "a"', 400, "invalid_json"),
    "nested JSON": (b'{"inputs": ' + b"[" * 100_000, 400, "invalid_json"),
    "not UTF-8": (b'{"inputs": "\xff"}', 400, "invalid_json"),
    "huge number": (b'{"inputs": ' + b"9" * 10_000 + b"}", 400, "invalid_json"),
    "not a number": (b'{"inputs": NaN}', 422, "validation"),
    "list": (b'["a"]', 422, "validation"),
    "null": (b"null", 422, "validation"),
    "empty text": (b'{"inputs": ""}', 400, "empty_input"),
    "blank text": (b'{"inputs": " \\n "}', 400, "empty_input"),
    "blank field": (b'{"inputs": {"text": " "}}', 400, "empty_input"),
    "empty list": (b'{"inputs": []}', 422, "validation"),
    "number": (b'{"inputs": 5}', 422, "validation"),
    "number in a field": (b'{"inputs": {"text": 5}}', 422, "validation"),
    "list in a list": (b'{"inputs": [["a"]]}', 422, "validation"),
    "missing field": (b'{"inputs": {}}', 422, "validation"),
    "unknown field": (b'{"inputs": {"text": "a", "txt": "b"}}', 422, "validation"),
    "unknown key": (b'{"inputs": "a", "explian": true}', 422, "validation"),
    "NUL": (b'{"inputs": "a\\u0000b"}', 422, "validation"),
    "lone surrogate": (b'{"inputs": "a\\ud800b"}', 422, "validation"),
    "lone surrogate in a key": (b'{"\\ud800": "b"}', 422, "validation"),
    "explain as a string": (b'{"inputs": "a", "explain": "true"}', 422, "validation"),
    "explain as a number": (b'{"inputs": "a", "explain": 1}', 422, "validation"),
    "explain as null": (b'{"inputs": "a", "explain": null}', 422, "validation"),
    "unknown model": (b'{"inputs": "a", "model": "b"}', 404, "model_not_found"),
    "model as a number": (b'{"inputs": "a", "model": 1}', 422, "validation"),
    "1 MB of text": (b'{"inputs": "' + b"a" * 10**6 + b'"}', 422, "too_many_tokens"),
    "1 MB of short words": (b'{"inputs": "' + b"a " * 500_000 + b'"}', 422, "too_many_tokens"),
    "long list": (json.dumps({"inputs": ["a"] * 33}).encode(), 413, "too_many_inputs"),
    "a million wrong inputs": (b'{"inputs": [' + b"1," * 999_999 + b"1]}", 422, "validation"),
    "large body": (b'{"inputs": "' + b"a" * 3 * 2**20 + b'"}', 413, "body_too_large"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies(name: str, client: httpx.Client) -> None:
    content, status, error_type = BAD_BODIES[name]
    response = client.post("/predict", content=content, headers=JSON)
    assert response.status_code == status
    assert response.json().keys() == {"error", "error_type"}
    assert response.json()["error_type"] == error_type
    assert len(response.content) < 2000
    assert client.post("/predict", json={"inputs": TEXT}).status_code == 200


def test_a_large_body_that_declares_no_size(client: httpx.Client) -> None:
    response = client.post("/predict", content=iter([b"a" * 65536] * 100), headers=JSON)
    assert response.status_code == 413
    assert response.json()["error_type"] == "body_too_large"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "error_type"),
    [
        ("POST", "/predict?explain=maybe", JSON, 422, "validation"),
        ("POST", "/predict", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ("POST", "/predict", JSON | {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
        ("GET", "/predict", {}, 405, "method_not_allowed"),
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("GET", "/models/nobody", {}, 404, "model_not_found"),
    ],
)
def test_bad_requests(
    client: httpx.Client,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    error_type: str,
) -> None:
    content = json.dumps({"inputs": TEXT})
    response = client.request(method, path, content=content, headers=headers)
    assert response.status_code == status
    assert response.json()["error_type"] == error_type


def test_clients_that_leave_harm_nobody(server: Server, client: httpx.Client) -> None:
    address = urlsplit(server.url)
    body = json.dumps({"inputs": problems(32), "explain": True}).encode()
    lines = ["POST /predict HTTP/1.1", "host: a", "content-type: application/json"]
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()
    for sent in (head, head + body[:100], head + body):
        for _ in range(5):
            with socket.create_connection((address.hostname, address.port)) as connection:
                connection.sendall(sent)
    assert client.post("/predict", json={"inputs": TEXT}).status_code == 200


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"DUET_HOST": "0.0.0.0"}, True),
        ({"DUET_HOST": "0.0.0.0", "DUET_API_KEYS": "s3cret"}, False),
        ({"DUET_HOST": "127.0.0.1"}, False),
    ],
)
def test_a_service_open_to_all_says_so(
    settings: dict[str, str], warned: bool, tiny_bundle: Path, tmp_path: Path
) -> None:
    with serve(tmp_path / "log", "--models", str(tiny_bundle), **settings) as server:
        status = httpx.get(f"{server.url}/models").status_code
        headers = {"authorization": "Bearer s3cret"}
        assert httpx.get(f"{server.url}/models", headers=headers).status_code == 200
        log = server.log.read_text()
    assert status == (401 if "DUET_API_KEYS" in settings else 200)
    assert ("WARNING" in log and "anyone who reaches 0.0.0.0" in log) == warned
    assert "s3cret" not in log


def test_a_body_that_stalls(tiny_bundle: Path, tmp_path: Path) -> None:
    settings = {"DUET_MODELS": str(tiny_bundle), "DUET_BODY_TIMEOUT": "0.1"}
    with serve(tmp_path / "log", **settings) as server:
        address = urlsplit(server.url)
        head = "POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        with socket.create_connection((address.hostname, address.port), TIMEOUT) as connection:
            connection.sendall(f'{head}content-length: 100\r\n\r\n{{"inputs"'.encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))  # until it is closed
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"error_type":"body_too_slow"' in answer
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert "Traceback" not in server.log.read_text()


def test_a_request_past_its_deadline(tiny_bundle: Path, tmp_path: Path) -> None:
    settings = {"DUET_MODELS": str(tiny_bundle), "DUET_TIMEOUT": "1e-9"}
    with serve(tmp_path / "log", **settings) as server:
        for inputs in (TEXT, [TEXT] * 3):
            response = httpx.post(f"{server.url}/predict", json={"inputs": inputs, "explain": True})
            assert response.status_code == 504
            assert response.json()["error_type"] == "deadline_exceeded"
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("log_inputs", [False, True])
def test_a_log_of_json_holds_the_inputs_only_if_asked(
    log_inputs: bool, tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = ["--log-format", "json", "--log-inputs", str(log_inputs).lower()]
    with serve(tmp_path / "log", *arguments, "--models", str(tiny_bundle)) as server:
        for stream in (False, True):
            body = {"inputs": "a secret\n🍎", "explain": True, "stream": stream}
            headers = {"x-request-id": f"trace-{stream}"}
            response = httpx.post(f"{server.url}/predict", json=body, headers=headers)
            assert response.headers["x-request-id"] == f"trace-{stream}"
        assert server.stop() == 0
    text = server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert all(line["level"] == "INFO" for line in lines)
    requests = [line for line in lines if line["logger"] == "service.middleware.access"]
    assert [line["request_id"] for line in requests] == ["trace-False", "trace-True"]
    for line in requests:
        assert (line["method"], line["route"], line["status"]) == ("POST", "/predict", 200)
        assert line["queue_ms"] >= 0
        assert line["total_ms"] >= line["inference_ms"]
    assert ("secret" in text) == log_inputs
    assert [line["inputs"] for line in lines if "inputs" in line] == (
        [["a secret\n🍎"]] * 2 if log_inputs else []
    )


def test_health_and_models(client: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/health"):
        assert client.get(path).json() == {"status": "ok"}
    (model,) = client.get("/models").json()
    assert model == client.get("/models/tiny").json()
    assert model["task"]["fields"] == ["text"]
    assert client.get("/info").json()["default_model"] == "tiny"
    assert client.get("/docs").status_code == 200


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(signum: signal.Signals, tiny_bundle: Path, tmp_path: Path) -> None:
    with serve(tmp_path / "log", DUET_MODELS=str(tiny_bundle)) as server:
        with httpx.Client(base_url=server.url) as client:  # its connection stays open
            assert client.post("/predict", json={"inputs": TEXT}).status_code == 200
            assert server.stop(signum) == 0
        assert "Traceback" not in server.log.read_text()
