"""Models come, are replaced, and go, while a real server answers."""

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from export.verify import read_manifest, seal
from tests.support.bundles import copy_bundle, reference, write_bundle
from tests.support.server_process import TIMEOUT, Server, serve
from tests.support.tiny_students import Student, problems, tiny_student

KEY = "secret"


@contextmanager
def serve_models(folder: Path, log: Path, **settings: str) -> Iterator[tuple[Server, httpx.Client]]:
    settings = {"DUET_MODELS": str(folder), "DUET_ADMIN_KEYS": KEY, "DUET_THREADS": "1"} | settings
    headers = {"authorization": f"Bearer {KEY}"}
    with (
        serve(log, **settings) as server,
        httpx.Client(base_url=server.url, timeout=TIMEOUT, headers=headers) as client,
    ):
        yield server, client
        assert "Traceback" not in log.read_text()


def change(folder: Path, version: str) -> None:
    seal(folder, read_manifest(folder).model_copy(update={"version": version}))


def versions(client: httpx.Client) -> dict[str, str]:
    return {model["name"]: model["version"] for model in client.get("/models").json()}


def test_no_request_is_lost_while_models_are_replaced(
    tiny_bundle: Path, tmp_path: Path, student: Student
) -> None:
    """Clients ask without a pause, at once and as streams; every answer is one version's."""
    folder = copy_bundle(tiny_bundle, tmp_path / "models" / "tiny")
    texts = problems(4)
    expected = {text: reference(student, text) for text in texts}
    over = threading.Event()

    def ask_until_over(client: httpx.Client, i: int) -> set[str]:
        seen, text = set(), texts[i]
        while not over.is_set():
            request = {"inputs": text, "explain": True, "stream": i % 2 == 0}
            response = client.post("/predict", json=request)
            assert response.status_code == 200, response.text
            answer = response.text.partition("event: done\ndata: ")[2] or response.text
            answer = json.loads(answer)
            assert answer["label"] == expected[text].label.text
            assert answer["rationale"] == expected[text].rationale.text
            seen.add(answer["version"])
        return seen

    with (
        serve_models(folder.parent, tmp_path / "log") as (_, client),
        ThreadPoolExecutor(len(texts)) as pool,
    ):
        asking = [pool.submit(ask_until_over, client, i) for i in range(len(texts))]
        for version in map(str, range(2, 8)):
            change(folder, version)
            loaded = client.post("/admin/models/tiny/load")
            assert (loaded.status_code, loaded.json()["version"]) == (200, version)
        (folder / "tokenizer.json").write_text("{}")
        refused = client.post("/admin/models/tiny/load")
        assert refused.status_code == 422
        assert refused.json()["error"].startswith(f"{folder}/tokenizer.json: 2 bytes, but")
        assert versions(client) == {"tiny": "7"}
        over.set()
        seen = set.union(*(answers.result() for answers in asking))
    assert len(seen) > 2


def test_sighup_reloads_what_changed(tiny_bundle: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("a", "b"):
        copy_bundle(tiny_bundle, models / name, name=name)
    with serve_models(models, tmp_path / "log") as (server, client):
        assert versions(client) == {"a": "1", "b": "1"}
        change(models / "a", "2")
        copy_bundle(tiny_bundle, models / "c", name="c")
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + TIMEOUT
        while versions(client) != {"a": "2", "b": "1", "c": "1"}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        change(models / "b", "2")
        (models / "b" / "golden.json").write_text("[]")
        server.process.send_signal(signal.SIGHUP)
        while "golden.json: 2 bytes, but" not in server.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert versions(client) == {"a": "2", "b": "1", "c": "1"}
        assert client.post("/predict", json={"inputs": "Ann", "model": "b"}).status_code == 200
        assert server.stop() == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells the memory in use")
def test_memory_is_given_back(tiny_bundle: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(tiny_bundle, models / "a")
    shape = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_heads": 8}
    write_bundle(models / "big", tiny_student(**shape), name="big")
    size = sum(file.stat().st_size for file in (models / "big").iterdir())
    assert size > 50e6

    def ask(client: httpx.Client) -> list[tuple[str, str]]:
        request = {"inputs": problems(8), "explain": True, "model": "big"}
        answers = client.post("/predict", json=request).raise_for_status().json()
        return [(answer["label"], answer["rationale"]) for answer in answers]

    with serve_models(models, tmp_path / "log") as (server, client):
        answers = ask(client)
        loaded = server.resident
        client.post("/admin/models/big/unload").raise_for_status()
        unloaded = [server.resident]
        for _ in range(3):
            client.post("/admin/models/big/load").raise_for_status()
            assert ask(client) == answers
            client.post("/admin/models/big/unload").raise_for_status()
            unloaded.append(server.resident)
    # What remains varies by some 20 MB, for each thread's arena keeps some; it does not grow.
    assert loaded - max(unloaded) > 0.8 * size
