"""The servers under load, in processes of their own, which end with the `with` block."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import psutil

from tests.benchmarks.geometry import Geometry
from tests.benchmarks.layout import CHECKPOINT
from tests.benchmarks.peers import THREADS
from tests.support.server_process import ROOT, TIMEOUT, Server, serve


@contextmanager
def duet_server(bundle: Path, log: Path) -> Iterator[Server]:
    """A ready server, without speculation: random weights write repetitions, which drafts guess."""
    settings = ("--device", "cpu", "--threads", str(THREADS), "--speculate", "false")
    with serve(log, "--models", str(bundle), *settings) as server:
        wait_until_ready(f"{server.url}/readyz", server.process)
        yield server


@dataclass(frozen=True)
class LitServeSettings:
    compute_type: str = "int8"
    max_batch_size: int = 16
    batch_timeout: float = 0.01  # seconds
    workers: int = 1

    def __str__(self) -> str:
        return (
            f"{self.compute_type}, max_batch_size {self.max_batch_size}, "
            f"batch_timeout {self.batch_timeout:g} s, "
            f"{self.workers} × {THREADS // self.workers} threads"
        )


@contextmanager
def litserve_server(
    settings: LitServeSettings, geometry: Geometry, folder: Path, log: Path
) -> Iterator[str]:
    """The address of a ready server, over CTranslate2."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {
        "checkpoint": folder / CHECKPOINT,
        "folder": folder / settings.compute_type,
        "compute-type": settings.compute_type,
        "input-tokens": geometry.input_tokens,
        "rationale-tokens": geometry.rationale_tokens,
        "max-batch-size": settings.max_batch_size,
        "batch-timeout": settings.batch_timeout,
        "workers": settings.workers,
        "threads": THREADS // settings.workers,
        "port": port,
    }
    command = [sys.executable, "-m", "tests.benchmarks.litserve_peer"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command += ["--candidates", *geometry.candidates()]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(f"{url}/health", process)
        yield url
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        for one in family:
            one.kill()
        process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Waits for a server. Raises RuntimeError where it ends first, or takes too long."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT):
                return
        except URLError:
            time.sleep(0.01)
    raise RuntimeError(f"{url} does not get ready")
