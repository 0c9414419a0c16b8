"""A container engine, as its command line drives it."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.support.server_process import ROOT

TIMEOUT = 180  # seconds; Prometheus must have come twice
COMPOSE = os.environ.get("DUET_TEST_COMPOSE", "docker compose").split()


def docker(*arguments: str) -> str:
    return run("docker", *arguments)


def compose(*arguments: str) -> str:
    return run(*COMPOSE, "--project-name", "duet-test", *arguments)


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()


def logs(container: str) -> str:
    """Of both streams, each with the other's lines somewhere between."""
    return subprocess.run(
        ["docker", "logs", container],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    ).stdout


def inspect(container: str) -> dict[str, Any]:
    (found,) = json.loads(docker("inspect", container))
    return dict(found)


def wait_until(holds: Callable[[], bool], why: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline, why()
        time.sleep(0.2)


def wait_until_healthy(container: str) -> None:
    wait_until(
        lambda: inspect(container)["State"].get("Health", {}).get("Status") == "healthy",
        lambda: logs(container),
    )
