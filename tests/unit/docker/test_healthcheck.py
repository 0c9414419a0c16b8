"""The images' health check: its exit status, and one line that says why."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from tests.support.server_process import ROOT, TIMEOUT, serve_here


def check(port: int, host: str = "0.0.0.0") -> tuple[int, str]:
    """Without this environment's packages: an image's Python has its own alone."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "docker" / "healthcheck.py")],
        env=os.environ | {"DUET_HOST": host, "DUET_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def replica() -> Iterator[tuple[FastAPI, int]]:
    app = FastAPI()
    app.state.problem = None

    @app.get("/readyz")
    async def ready() -> JSONResponse:
        problem = app.state.problem
        return JSONResponse({"error": problem}, 503 if problem else 200)

    with serve_here(app) as (_, port):
        yield app, port


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_ready(replica: tuple[FastAPI, int], host: str) -> None:
    app, port = replica
    app.state.problem = None
    assert check(port, host) == (0, "")


def test_not_ready(replica: tuple[FastAPI, int]) -> None:
    app, port = replica
    app.state.problem = "the queue of a is full"
    assert check(port) == (1, "not ready: the queue of a is full\n")


def test_nothing_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        status, said = check(reserved.getsockname()[1])
    assert status == 1
    assert said.startswith("no answer: ")
    assert said.count("\n") == 1


def test_another_protocol() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "docker" / "healthcheck.py")],
            env=os.environ | {"DUET_PORT": str(listener.getsockname()[1])},
            stderr=subprocess.PIPE,
            text=True,
        )
        with listener.accept()[0] as connection:
            connection.sendall(b"+OK\r\n")
        _, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert said.startswith("no answer: ")
