"""The service on Ray Serve: `make test-ray`."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from shutil import copytree
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs Ray: make test-ray")

import aiohttp
import httpx2 as httpx

from export.verify import read_manifest, seal
from service.engine.engine import Engine
from service.engine.prediction import PredictRequest
from service.settings import EMBEDDED_STUDENT
from tests.cluster.clusters import Deployed, deploy, serving
from tests.support.server_process import events
from tests.support.simple_problems import problem

REQUESTS, CLIENTS, TEXTS = 2000, 48, 200


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    with serving({"threads": 1}, num_replicas=2) as found:
        yield found


@pytest.fixture(scope="module")
def bodies() -> list[dict[str, Any]]:
    rng = random.Random(0)
    return [{"inputs": problem(rng)["input"], "explain": i % 2 == 0} for i in range(TEXTS)]


@pytest.fixture(scope="module")
def alone(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the engine says of each, one after the other."""
    engine = Engine.load(EMBEDDED_STUDENT, threads=1, max_rows=2, speculate=False)

    async def ask() -> list[dict[str, Any]]:
        answers = []
        for body in bodies:
            found = await engine.predict(PredictRequest(body["inputs"], body["explain"]))
            answer = {"label": found.label, "confidence": found.confidence}
            answers.append(answer | ({"rationale": found.rationale} if body["explain"] else {}))
        return answers

    answers = asyncio.run(ask())
    engine.close()
    return answers


@dataclass
class Outcomes:
    """What became of requests: each has one outcome, and those that went well their time."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[Any] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)


async def ask_all(
    url: str,
    bodies: list[dict[str, Any]],
    alone: list[dict[str, Any]],
    amid: dict[int, Any] | None = None,
    until: Any = None,
) -> Outcomes:
    """Sends REQUESTS by CLIENTS, or sends them until something is so.

    `amid` is called, each after so many of them.
    """
    outcomes = Outcomes()
    numbers = iter(range(REQUESTS)) if until is None else takewhile(lambda _: not until(), count())

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            if number in (amid or {}):
                amid[number]()
            i = number % len(bodies)
            try:
                async with session.post(f"{url}/predict", json=bodies[i]) as response:
                    answer = await response.json()
            except aiohttp.ClientConnectionError:
                outcomes.counts["connection"] += 1
                continue
            if response.status != 200:
                outcomes.counts[f"{response.status} {answer['error_type']}"] += 1
                assert set(answer) == {"error", "error_type"}
                continue
            outcomes.counts["answered"] += 1
            outcomes.answered_at.append(time.monotonic())
            if {name: answer.get(name) for name in alone[i]} != alone[i]:
                outcomes.wrong.append((bodies[i], answer))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    return outcomes


def test_no_answer_is_wrong_and_none_is_lost_silently_when_a_replica_is_killed(
    deployed: Deployed,
    bodies: list[dict[str, Any]],
    alone: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = deployed.replicas
    assert len(before) == 2
    killed_at = 0.0

    def kill() -> None:
        nonlocal killed_at
        killed_at = time.monotonic()
        os.kill(before[0], signal.SIGKILL)

    outcomes = asyncio.run(ask_all(deployed.url, bodies, alone, {REQUESTS // 3: kill}))
    deployed.wait_until_running(2)
    recovered = time.monotonic() - killed_at
    assert outcomes.wrong == []
    assert outcomes.counts.total() == REQUESTS
    documented = {"answered", "503 unavailable"}
    assert set(outcomes.counts) <= documented, outcomes.counts
    # no more than what the dead one had in work
    assert outcomes.counts["503 unavailable"] <= CLIENTS
    assert before[1] in deployed.replicas
    assert before[0] not in deployed.replicas
    gap = max(b - a for a, b in zip(outcomes.answered_at, outcomes.answered_at[1:], strict=False))
    again = asyncio.run(ask_all(deployed.url, bodies, alone))
    assert (again.counts, again.wrong) == ({"answered": REQUESTS}, [])
    with capsys.disabled():
        print(f"\nof {REQUESTS}: {dict(outcomes.counts)}")
        print(f"no answer for {gap:.2f} s at most; two replicas again after {recovered:.1f} s")


def test_errors_have_one_shape_whoever_answers(deployed: Deployed) -> None:
    for path, body, status, error_type in (
        ("/predict", {"inputs": " "}, 400, "empty_input"),
        ("/predict", {"inputs": "a", "model": "no"}, 404, "model_not_found"),
        ("/predict", {"inputs": 1}, 422, "validation"),
        ("/no", {}, 404, "not_found"),
    ):
        answer = httpx.post(f"{deployed.url}{path}", json=body, headers={"x-request-id": "mine"})
        assert answer.status_code == status
        assert answer.json()["error_type"] == error_type
        assert answer.headers.get_list("x-request-id") == ["mine"]


def test_a_stream_streams(deployed: Deployed, bodies: list[Any], alone: list[Any]) -> None:
    body = {**bodies[0], "stream": True}
    stream = events(httpx.post(f"{deployed.url}/predict", json=body).text)
    assert [name for name, _ in stream][:: len(stream) - 1] == ["label", "done"]
    _, done = stream[-1]
    assert {name: done[name] for name in alone[0]} == alone[0]


def test_a_new_deployment_loses_no_request(
    deployed: Deployed, bodies: list[Any], alone: list[Any]
) -> None:
    """The old replicas finish what they have, while new ones take what comes."""
    before = deployed.replicas
    arguments = {"threads": 1, "max_rows": 16}
    redeploy = Thread(target=lambda: deploy(deployed.url, arguments, num_replicas=2))
    outcomes = asyncio.run(
        ask_all(
            deployed.url,
            bodies,
            alone,
            {200: redeploy.start},
            until=lambda: not {*before} & {*deployed.replicas} and not redeploy.is_alive(),
        )
    )
    redeploy.join()
    assert outcomes.wrong == []
    assert set(outcomes.counts) == {"answered"}
    info = httpx.get(f"{deployed.url}/info").json()
    assert (info["max_rows"], info["max_queue"]) == (16, 32)


def test_replicas_come_with_the_load(
    deployed: Deployed, bodies: list[Any], alone: list[Any]
) -> None:
    quick = {"upscale_delay_s": 0, "downscale_delay_s": 0}
    scaling = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 4, **quick}
    deploy(deployed.url, {}, autoscaling_config=scaling)
    deployed.wait_until_running(1)
    outcomes = asyncio.run(
        ask_all(deployed.url, bodies, alone, until=lambda: deployed.running == 2)
    )
    assert outcomes.wrong == []
    assert set(outcomes.counts) == {"answered"}


def test_models_share_replicas(deployed: Deployed, tmp_path: Path) -> None:
    """Two of three fit: the one that was asked for longest ago makes room."""
    names = ("a", "b", "c")
    for name in names:
        copytree(EMBEDDED_STUDENT, tmp_path / name)
        seal(tmp_path / name, read_manifest(tmp_path / name).model_copy(update={"name": name}))
    deploy(deployed.url, {"models": [str(tmp_path)], "max_models": 2}, num_replicas=1)
    deployed.wait_until_running(1)

    def loaded() -> list[str]:
        return [model["name"] for model in httpx.get(f"{deployed.url}/models").json()]

    def ask(**body: str) -> str:
        answer = httpx.post(f"{deployed.url}/predict", json={"inputs": "Ann has 3.", **body})
        return answer.json()["model"]

    assert loaded() == ["a", "b"]
    assert [ask(), ask(model="b"), loaded()] == ["a", "b", ["a", "b"]]
    assert [ask(model="c"), loaded()] == ["c", ["b", "c"]]
    named = {"serve_multiplexed_model_id": "a"}
    answer = httpx.post(f"{deployed.url}/predict", json={"inputs": "Ann has 3."}, headers=named)
    assert [answer.json()["model"], loaded()] == ["a", ["a", "c"]]
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["Ann has 3."]}
    answer = httpx.post(f"{deployed.url}/v2/models/b/infer", json={"inputs": [tensor]})
    assert [answer.json()["model_name"], loaded()] == ["b", ["a", "b"]]
    unknown = httpx.get(f"{deployed.url}/models/d")
    assert [unknown.status_code, loaded()] == [404, ["a", "b"]]

    async def ask_for_all() -> list[str]:
        async with aiohttp.ClientSession() as session:

            async def one(i: int) -> Any:
                body = {"inputs": "Ann has 3.", "model": names[i % 3]}
                async with session.post(f"{deployed.url}/predict", json=body) as response:
                    return (await response.json()).get("model")

            return await asyncio.gather(*(one(i) for i in range(30)))

    assert asyncio.run(ask_for_all()) == [names[i % 3] for i in range(30)]
