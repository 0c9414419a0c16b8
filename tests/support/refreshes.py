"""Refreshes in this process, of a student that is there already, and a client meanwhile."""

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from duet.refresh import __main__ as refresh
from duet.refresh.errors import RefreshError, WorseError
from duet.refresh.stages import Stage
from tests.support.server_process import TIMEOUT, Server
from training.evaluate import main as evaluate

KEY = "secret"


def prepare(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    """Makes the new student's bundle a copy of `bundle`, and KEY the admin key."""

    def making(recipe: Path, overrides: list[str], checkpoint: Path, *_: str) -> list[Stage]:
        return [Stage("copy", ["copy", str(bundle), str(checkpoint / "bundle")])]

    def run(stage: Stage, log: Path) -> None:
        command, *arguments = stage.command
        if command == "copy":
            shutil.copytree(*arguments, dirs_exist_ok=True)
        elif status := evaluate(arguments):
            raise {1: WorseError, 2: RefreshError}[status](f"{stage.title}: {status}")

    monkeypatch.setattr(refresh, "making", making)
    monkeypatch.setattr(Stage, "run", run)
    monkeypatch.setenv("DUET_ADMIN_KEY", KEY)


@contextmanager
def asked_all_the_while(server: Server, *, explain: bool = True) -> Iterator[Future[Counter[str]]]:
    """A client that asks again and again, and once after all else: the versions that answered."""
    over = threading.Event()

    def ask() -> Counter[str]:
        seen: Counter[str] = Counter()
        with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
            last = False
            while not last:
                last = over.wait(0.05)  # which leaves the processor to the others
                body = {"inputs": "Ada has 7 coins. Ada gets 5 more coins.", "explain": explain}
                response = client.post("/predict", json=body)
                assert response.status_code == 200, response.text
                seen[response.json()["version"]] += 1
        return seen

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield asking
        finally:
            over.set()


def served_version(server: Server) -> str:
    (model,) = httpx.get(f"{server.url}/models", timeout=TIMEOUT).json()
    return model["version"]
