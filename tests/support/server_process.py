"""Real servers for tests: `python -m service` in a process of its own, on a free port."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from service.admission import Admission

ROOT = Path(__file__).parents[2]
TIMEOUT = 60  # seconds; reached only where something hangs


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "service", *arguments]


def environment(**settings: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DUET_")}
    return clean | settings


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not (found := re.search(r"Docs: (\S+)/docs\n", self.log.read_text())):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self.url = found[1]

    @property
    def resident(self) -> int:
        """The resident memory in bytes, if /proc is there."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit status."""
        self.process.send_signal(signum)
        return self.process.wait(TIMEOUT)


@contextmanager
def serve(log: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command("--port", "0", *arguments),
            cwd=ROOT,
            env=environment(**settings),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    server = Server(process, log)
    try:
        server.wait_until_it_listens()
        yield server
    finally:
        process.kill()
        process.wait()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def serve_here(app: ASGIApp) -> Iterator[tuple[str, int]]:
    """Serves `app` in a thread of this process, on a real port. Yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(TIMEOUT)


def events(stream: str) -> list[tuple[str, Any]]:
    """The names and the data of server-sent events."""
    assert stream.endswith("\n\n")
    found = []
    for block in stream[:-2].split("\n\n"):
        name, data = block.split("\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def admission_of(app: FastAPI, model: str = "tiny") -> Admission:
    """The admission of a model that the application serves."""
    (found,) = (
        served.admission
        for served in app.state.models.served()
        if served.engine.manifest.name == model
    )
    return found
