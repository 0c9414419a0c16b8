"""How a server starts and how it ends."""

import json
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.support.bundles import copy_bundle
from tests.support.corrupt_bundles import flip_a_bit
from tests.support.programs import run
from tests.support.server_process import TIMEOUT, Server, serve
from tests.support.tiny_students import problems

BODY = json.dumps({"inputs": problems(1)[0], "explain": True}).encode()
HEAD = (
    "POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    f"content-length: {len(BODY)}\r\n\r\n"
).encode()


def send_half(server: Server) -> socket.socket:
    """A connection with a request that waits for the rest of its body."""
    address = urlsplit(server.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=TIMEOUT)
    connection.sendall(HEAD + BODY[:5])
    assert httpx.get(f"{server.url}/livez").status_code == 200  # so it has read that by now
    return connection


def wait_until_it_stops_accepting(server: Server) -> None:
    address = urlsplit(server.url)
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            socket.create_connection((address.hostname, address.port)).close()
        except ConnectionRefusedError:
            return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_work_are_finished(
    signum: signal.Signals, tiny_bundle: Path, tmp_path: Path
) -> None:
    settings = {"DUET_MODELS": str(tiny_bundle), "DUET_GRACE_PERIOD": "3600"}
    with serve(tmp_path / "log", **settings) as server, send_half(server) as connection:
        server.process.send_signal(signum)
        wait_until_it_stops_accepting(server)
        assert server.process.poll() is None
        connection.sendall(BODY[5:])
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"rationale" in body
        assert server.process.wait(TIMEOUT) == 0
        assert "Traceback" not in server.log.read_text()


def test_the_grace_period_ends(tiny_bundle: Path, tmp_path: Path) -> None:
    settings = {"DUET_MODELS": str(tiny_bundle), "DUET_GRACE_PERIOD": "1"}
    with serve(tmp_path / "log", **settings) as server, send_half(server) as connection:
        assert server.stop() == 0
        assert b"HTTP/1.1 200" not in read_all(connection)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(
    second: signal.Signals, tiny_bundle: Path, tmp_path: Path
) -> None:
    settings = {"DUET_MODELS": str(tiny_bundle), "DUET_GRACE_PERIOD": "3600"}
    with serve(tmp_path / "log", **settings) as server, send_half(server):
        server.process.send_signal(signal.SIGTERM)
        wait_until_it_stops_accepting(server)
        assert server.stop(second) == -second


def test_check_tells_what_would_be_served(
    tiny_bundle: Path, labels_only_bundle: Path, tmp_path: Path
) -> None:
    copy_bundle(tiny_bundle, tmp_path / "models" / "other", name="other", version="7")
    models = f"{tiny_bundle},{tmp_path}/models,{labels_only_bundle}"
    with socket.create_server(("127.0.0.1", 0)) as taken:  # as if the service ran already
        port = str(taken.getsockname()[1])
        done = run("service", "--check", "--device", "cpu", "--port", port, DUET_MODELS=models)
    assert (done.returncode, done.stderr) == (0, "")
    rest = "for the task problems, in fp32 on the CPU, from"
    assert done.stdout.splitlines() == [
        f"Duet would serve on 127.0.0.1, port {port}:",
        f"  tiny, version 1, {rest} {tiny_bundle}",
        f"  other, version 7, {rest} {tmp_path}/models/other",
        f"  plain, version 1, {rest} {labels_only_bundle}; it was trained without rationales, so "
        "it gives labels only",
    ]


def test_check_tells_what_is_wrong(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = copy_bundle(tiny_bundle, tmp_path / "tiny")
    flip_a_bit("decoder.onnx")(folder)
    for settings, message in (
        ({"DUET_MODELS": str(folder)}, f"{folder}/decoder.onnx: its SHA-256 is not"),
        ({"DUET_MODELS": str(tmp_path / "no")}, f"{tmp_path}/no: not a bundle"),
        ({"DUET_MAX_ROWS": "many"}, "--max-rows (DUET_MAX_ROWS): expected a whole number"),
    ):
        done = run("service", "--check", **settings)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"duet: {message}")
        assert done.stderr.count("\n") == 1
