"""What is asked of the hub, and what is refused without asking."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.tiny_students import tiny_student
from training.student.files import StudentError
from training.student.hub import not_cached, why_not_on_hub
from training.student.load import load_pretrained


class FakeHub(BaseHTTPRequestHandler):
    """Knows one model, a gated one, and no other."""

    asked: list[str]

    def do_GET(self) -> None:
        if not self.path.startswith("/api/models/"):  # newer clients ask for other things, too
            self.send_error(404)
            return
        self.asked.append(self.path)
        status, code = 404, "RepoNotFound"
        if self.path.startswith("/api/models/google/known"):
            status, code = 200, ""
        elif self.path.startswith("/api/models/google/gated"):
            status, code = 403, "GatedRepo"
        self.send_response(status)
        self.send_header("x-error-code", code)
        body = b'{"id": "google/known", "modelId": "google/known", "siblings": []}'
        self.send_header("content-length", str(len(body)))
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths that a fake hub was asked for."""
    FakeHub.asked = []
    server = HTTPServer(("127.0.0.1", 0), FakeHub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    yield FakeHub.asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_that_the_hub_has(asked: list[str]) -> None:
    assert why_not_on_hub("google/known") is None
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("name", "complaint", "requests"),
    [
        ("google/unknown", "google/unknown: there is no such folder, and the hub has no such", 1),
        ("google/gated", "google/gated: the hub gives this model only to those who accepted", 1),
        ("./known", "./known: there is no such folder", 0),
        ("/no/such", "/no/such: there is no such folder", 0),
        ("~/models/t5", "~/models/t5: there is no such folder", 0),
        ("runs/typo", "runs/typo: there is no such folder", 0),
        ("runs/a/b", "runs/a/b: there is no such folder", 0),
        ("weights.bin", "weights.bin: there is no such folder", 0),
        ("flan t5", "flan t5: neither a folder that exists nor the name of a model on the hub", 0),
    ],
)
def test_what_is_no_model(
    name: str,
    complaint: str,
    requests: int,
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(StudentError) as refused:
        why_not_on_hub(name)
    assert str(refused.value).startswith(complaint)
    assert len(asked) == requests


def test_a_hub_out_of_reach_is_asked_once_and_quietly(
    unused_port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{unused_port}")
    why = why_not_on_hub("google/known")
    assert why is not None
    assert why.endswith("Connection refused")
    with pytest.raises(StudentError) as refused:
        load_pretrained("google/known")
    assert str(refused.value) == not_cached("google/known", why, "T5")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def test_what_is_in_the_cache_of_a_hub_out_of_reach_is_loaded(
    unused_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--somebody--tiny"
    student = tiny_student()
    for part in (student.model, student.tokenizer):
        part.save_pretrained(repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path), raising=False)
    loaded = load_pretrained("somebody/tiny")
    assert loaded.model.shared.weight.equal(student.model.shared.weight)
    assert loaded.tokenizer("a b")["input_ids"] == student.tokenizer("a b")["input_ids"]
