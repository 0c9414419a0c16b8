"""Replicas behind the proxy of docker-compose.yml."""

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tests.support.bundles import reference
from tests.support.haproxy import Proxy, free_ports, proxy
from tests.support.server_process import TIMEOUT, admission_of, events, serve_here, wait_until
from tests.support.stepped_runner import SteppedRunner
from tests.support.tiny_students import Student, problems

STREAM = {"inputs": problems(1)[0], "explain": True, "stream": True}
FULL = {"error": "the queue is full", "error_type": "overloaded"}


@pytest.fixture
def label_steps(student: Student) -> int:
    """How many steps the label takes, and its rationale takes more."""
    label, rationale = reference(student, STREAM["inputs"])
    assert len(label.tokens) < len(rationale.tokens)
    return len(label.tokens)


@pytest.fixture
def app(undrafted_engine: Engine) -> FastAPI:
    """Its own deadline is no help to those who leave."""
    settings = Settings(threads=1, timeout=10 * TIMEOUT)
    return create_app(settings, Registry({"tiny": undrafted_engine}, settings))


@pytest.fixture
def one(app: FastAPI, tmp_path: Path) -> Iterator[Proxy]:
    """Before one replica, whose steps the test lets happen."""
    with serve_here(app) as (host, port), proxy(tmp_path / "log", f"{host}:{port}") as started:
        started.wait_until("/readyz", 200)
        yield started


def test_a_stream_comes_as_it_is_written(
    one: Proxy, runner: SteppedRunner, label_steps: int
) -> None:
    """No step of the rationale happens before the client has the label."""
    runner.allowed.release(label_steps)
    with httpx.stream("POST", f"{one.url}/predict", json=STREAM, timeout=TIMEOUT) as response:
        lines = response.iter_lines()
        label = [next(lines) for _ in range(3)]
        assert label[0] == "event: label"
        runner.release()
        (first, _), *pieces, (last, done) = events("\n".join([*label, *lines, ""]))
    assert (first, last) == ("label", "done")
    assert "".join(piece["text"] for _, piece in pieces) == done["rationale"] != ""
    assert response.headers["x-request-id"]


def test_who_leaves_a_stream_gives_back_the_rows(
    one: Proxy, runner: SteppedRunner, app: FastAPI, label_steps: int
) -> None:
    runner.allowed.release(label_steps)
    with httpx.stream("POST", f"{one.url}/predict", json=STREAM, timeout=TIMEOUT) as response:
        lines = response.iter_lines()  # whose end would close the connection
        assert next(lines) == "event: label"
        assert admission_of(app).inputs == 1
    wait_until(lambda: admission_of(app).inputs == 0)


def test_who_leaves_before_the_answer_does_too(one: Proxy, app: FastAPI) -> None:
    body = json.dumps(STREAM | {"stream": False})
    head = "POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    address = urlsplit(one.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        wait_until(lambda: admission_of(app).inputs == 1)
    wait_until(lambda: admission_of(app).inputs == 0)


def test_told_to_stop_it_finishes_streams(
    one: Proxy, runner: SteppedRunner, label_steps: int
) -> None:
    runner.allowed.release(label_steps)
    with httpx.stream("POST", f"{one.url}/predict", json=STREAM, timeout=TIMEOUT) as response:
        lines = response.iter_lines()
        label = [next(lines) for _ in range(3)]
        one.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: not takes_connections(one))
        runner.release()
        assert events("\n".join([*label, *lines, ""]))[-1][0] == "done"
    assert one.process.wait(TIMEOUT) == 0


def takes_connections(started: Proxy) -> bool:
    address = urlsplit(started.url)
    try:
        socket.create_connection((address.hostname, address.port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("path", ["/metrics", "/admin/models/tiny/load"])
def test_what_speaks_of_one_replica_is_not_there(one: Proxy, path: str) -> None:
    response = httpx.post(one.url + path)
    assert response.status_code == 404
    assert response.json().keys() == {"error", "error_type"}
    assert response.json()["error_type"] == "not_found"
    assert httpx.get(f"{one.url}/models/tiny").json()["name"] == "tiny"


def test_it_has_metrics_of_its_own(one: Proxy) -> None:
    wait_for_replicas(one, 20)  # as many as it has places for: the address is one for all


class Stub(ThreadingHTTPServer):
    """A replica that is full, or that closes connections without an answer."""

    daemon_threads = True

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, port), Handler)
        self.full = self.dies = False
        self.asked = 0

    def handle_error(self, *_: Any) -> None:
        """The proxy leaves a check as soon as it knows the status."""


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_GET(self) -> None:
        self.answer(503 if self.server.full else 200, {"status": "ok"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked += 1
        if self.server.full:
            self.answer(429, FULL, ("retry-after", "7"))
        elif not self.server.dies:
            self.answer(200, {"address": self.server.server_address[0]})

    def answer(self, status: int, body: Any, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    thread = Thread(target=stub.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield stub
    finally:
        stub.shutdown()
        stub.server_close()
        thread.join(TIMEOUT)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Proxy, Stub, Stub]]:
    (port,) = free_ports(1)
    with (
        serving(Stub("127.0.0.2", port)) as first,
        serving(Stub("127.0.0.3", port)) as second,
        proxy(tmp_path / "log", f"duet:{port}") as started,
    ):
        started.names.addresses = ["127.0.0.2", "127.0.0.3"]
        wait_for_replicas(started, 2)
        yield started, first, second


def wait_for_replicas(started: Proxy, count: int, backend: str = "ready") -> None:
    line = f'haproxy_backend_active_servers{{proxy="{backend}"}} {count}\n'
    wait_until(lambda: line in httpx.get(started.metrics_url).text)


def predict(started: Proxy) -> httpx.Response:
    return httpx.post(f"{started.url}/predict", json={"inputs": "a"}, timeout=TIMEOUT)


def test_replicas_take_turns_and_come_and_go(two: tuple[Proxy, Stub, Stub]) -> None:
    started, *_ = two
    both = {"127.0.0.2", "127.0.0.3"}
    assert {predict(started).json()["address"] for _ in range(4)} == both
    started.names.addresses = ["127.0.0.3"]
    wait_for_replicas(started, 1)
    assert {predict(started).json()["address"] for _ in range(4)} == {"127.0.0.3"}
    started.names.addresses = ["127.0.0.3", "127.0.0.2"]
    wait_for_replicas(started, 2)
    assert {predict(started).json()["address"] for _ in range(4)} == both


def test_what_one_did_not_answer_another_does(two: tuple[Proxy, Stub, Stub]) -> None:
    started, first, _ = two
    first.dies = True
    answers = [predict(started) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert {answer.json()["address"] for answer in answers} == {"127.0.0.3"}
    assert first.asked > 0


def test_a_full_one_is_passed_over_until_all_are(two: tuple[Proxy, Stub, Stub]) -> None:
    started, first, second = two
    first.full = True
    wait_for_replicas(started, 1)
    assert {predict(started).json()["address"] for _ in range(4)} == {"127.0.0.3"}
    second.full = True
    wait_for_replicas(started, 0)
    answer = predict(started)
    assert (answer.status_code, answer.json()) == (429, FULL)
    assert answer.headers["retry-after"] == "7"


def test_without_replicas_it_says_so(two: tuple[Proxy, Stub, Stub]) -> None:
    started, *stubs = two
    for stub in stubs:
        stub.server_close()
    wait_for_replicas(started, 0)
    wait_for_replicas(started, 0, "running")
    answer = predict(started)
    assert answer.status_code == 503
    assert answer.json()["error_type"] == "unavailable"
    assert answer.headers["retry-after"] == "1"
