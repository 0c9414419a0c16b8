"""docker-compose.yml: two replicas, the proxy and Prometheus, by a real engine."""

import json
import math
import os
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from tests.containers.engine import compose, docker, inspect, logs, wait_until, wait_until_healthy
from tests.support.server_process import ROOT, TIMEOUT, events

URL = "http://127.0.0.1:8000"
PROMETHEUS = "http://127.0.0.1:9090"
TEXT = "Omar packed 48 rolls into 6 bags. How many are in each?"
# Grafana's image cannot be had everywhere
SERVICES = os.environ.get("DUET_TEST_SERVICES", "duet proxy prometheus grafana").split()


@pytest.fixture(scope="module", autouse=True)
def started(cpu_image: str) -> Iterator[None]:
    profile = ["--profile", "observability"]
    try:
        compose(*profile, "up", "--detach", "--no-build", "--scale", "duet=2", *SERVICES)
        for replica in replicas():
            wait_until_healthy(replica)
        wait_until(lambda: ready() == 200)
        yield
    finally:
        compose(*profile, "down", "--volumes")


def replicas() -> list[str]:
    return compose("ps", "--quiet", "duet").split()


def ready() -> int:
    try:
        return httpx.get(f"{URL}/readyz").status_code
    except httpx.TransportError:
        return 0


def predict() -> httpx.Response:
    return httpx.post(f"{URL}/predict", json={"inputs": TEXT, "explain": True}, timeout=TIMEOUT)


def answered_by(replica: str) -> int:
    lines = [json.loads(line) for line in logs(replica).splitlines() if line[0] == "{"]
    return sum(line.get("route") == "/predict" and line["status"] == 200 for line in lines)


def test_both_replicas_answer() -> None:
    before = Counter({replica: answered_by(replica) for replica in replicas()})
    for _ in range(10):
        assert predict().json()["answer"] == 8.0
    after = Counter({replica: answered_by(replica) for replica in replicas()})
    assert sorted((after - before).values()) == [5, 5]


def test_a_stream_passes_the_proxy() -> None:
    body = {"inputs": TEXT, "explain": True, "stream": True}
    (first, _), *pieces, (last, done) = events(httpx.post(f"{URL}/predict", json=body).text)
    assert (first, last) == ("label", "done")
    assert "".join(piece["text"] for _, piece in pieces) == done["rationale"]


def test_new_bundles_in_the_volume_are_loaded_by_all() -> None:
    """The volume began with the embedded students, from the image."""
    assert [model["name"] for model in httpx.get(f"{URL}/models").json()] == [
        "svamp-numbers",
        "svamp-operations",
    ]
    change = (
        "import shutil, pathlib; from export import verify;"
        "new = shutil.copytree('/bundles/svamp-numbers', '/bundles/other');"
        "manifest = verify.read_manifest(pathlib.Path(new));"
        "verify.seal(pathlib.Path(new), manifest.model_copy(update={'name': 'other'}))"
    )
    image = inspect(replicas()[0])["Image"]
    mount = "--volume=duet-test_bundles:/bundles"
    docker("run", "--rm", mount, "--entrypoint=python", image, "-c", change)
    compose("kill", "-s", "HUP", "duet")
    asked = httpx.Client(base_url=URL, headers={"connection": "close"})
    wait_until(lambda: all(len(asked.get("/models").json()) == 3 for _ in range(4)))
    for _ in range(4):
        answer = asked.post("/predict", json={"inputs": TEXT, "model": "other"}).json()
        assert (answer["answer"], answer["model"]) == (8.0, "other")


def query(promql: str) -> list[dict[str, Any]]:
    found = httpx.get(f"{PROMETHEUS}/api/v1/query", params={"query": promql}).json()
    return list(found["data"]["result"])


def test_prometheus_finds_every_replica_and_the_proxy() -> None:
    def up() -> Counter[str]:
        return Counter(each["metric"]["job"] for each in query("up == 1"))

    wait_until(lambda: up() == {"duet": 2, "proxy": 1}, lambda: str(up()))


def test_every_panel_of_the_dashboard_shows_something() -> None:
    dashboard = json.loads((ROOT / "docker/grafana/dashboards/duet.json").read_text())
    values = {"$__rate_interval": "1m", "$instance": ".*", "$model": ".*"}

    def empty() -> list[str]:
        assert predict().status_code == 200
        assert httpx.post(f"{URL}/predict", json={"inputs": ""}).status_code == 400
        return [
            panel["title"]
            for panel in dashboard["panels"]
            for target in panel.get("targets", [])
            if not any(
                math.isfinite(float(each["value"][1])) for each in query(filled(target["expr"]))
            )
        ]

    def filled(promql: str) -> str:
        for name, value in values.items():
            promql = promql.replace(name, value)
        return promql

    wait_until(lambda: not empty(), lambda: str(empty()))


def test_a_killed_replica_loses_no_request() -> None:
    """Those that it had in work are asked of the other one."""
    first, second = replicas()
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(predict().status_code for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(statuses) > 20)
    docker("kill", first)  # at once, and for good: the policy does not restart what was killed so
    for thread in threads:
        thread.join()
    assert Counter(statuses) == {200: 200}
    assert answered_by(second) > answered_by(first) > 0
    docker("start", first)
    wait_until_healthy(first)


def test_told_to_stop_all_end_well() -> None:
    containers = {name: compose("ps", "--quiet", name).split() for name in ("duet", "proxy")}
    compose("stop")
    for name, ids in containers.items():
        states = [inspect(each)["State"] for each in ids]
        assert [state["ExitCode"] for state in states] == [0] * len(ids), name
        assert not any(state["OOMKilled"] for state in states)
