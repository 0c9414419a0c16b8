import asyncio
import shutil
import subprocess

import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from service import __version__
from service.app import create_app
from service.engine.engine import Engine
from service.engine.prediction import PredictRequest
from service.registry import Registry
from service.settings import Settings
from tests.support.server_process import admission_of
from tests.support.stepped_runner import SteppedRunner
from tests.support.tiny_students import problems

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
TEXT = problems(1)[0]


def client_of(engine: Engine, **settings: object) -> TestClient:
    known = Settings(**settings)
    app = create_app(known, Registry({"tiny": engine}, known))
    return TestClient(app, raise_server_exceptions=False)


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_requests_and_their_answers_are_counted(engine: Engine) -> None:
    client = client_of(engine)
    before = samples(client.get("/metrics").text)
    body = {"inputs": [TEXT, "Ann has 3 pens"], "explain": True}
    answers = client.post("/predict", json=body).json()
    stream = client.post("/predict", json={"inputs": TEXT, "explain": True, "stream": True})
    assert stream.status_code == 200
    answers += [answers[0], client.post("/predict", json={"inputs": TEXT}).json()]
    client.post("/predict", json={"inputs": ""})
    client.get("/models/nobody")
    client.head("/models/tiny")
    client.get("/nowhere")
    client.request("BREW", "/nowhere")
    found = samples(client.get("/metrics").text)
    for method, route, status, error_type, count in (
        ("POST", "/predict", "200", "", 3),
        ("POST", "/predict", "400", "empty_input", 1),
        ("GET", "/models/{name}", "404", "model_not_found", 1),
        ("HEAD", "/models/{name}", "200", "", 1),
        ("GET", "other", "404", "not_found", 1),
        ("other", "other", "404", "not_found", 1),
        ("GET", "/metrics", "200", "", 1),
    ):
        labels = {"method": method, "route": route, "status": status, "error_type": error_type}
        assert value(found, "duet_http_requests_total", **labels) == count
    for route, count in (("/predict", 4), ("/models/{name}", 2)):
        name = "duet_http_request_duration_seconds_count"
        assert value(found, name, route=route) == count
    for stage, count in (("queue", 4), ("label", 4), ("rationale", 3)):
        assert value(found, f"duet_{stage}_seconds_count", model="tiny") == count
        assert value(found, f"duet_{stage}_seconds_sum", model="tiny") >= 0
    for kind in ("input", "label", "rationale"):
        assert value(found, "duet_tokens_total", model="tiny", kind=kind) == sum(
            answer["usage"][f"{kind}_tokens"] for answer in answers
        )
    steps, accepted = (
        value(found, f"duet_{name}_total", model="tiny")
        - value(before, f"duet_{name}_total", model="tiny")
        for name in ("decoder_steps", "accepted_tokens")
    )
    assert steps >= max(answer["usage"]["decoder_steps"] for answer in answers)
    assert accepted >= sum(answer["usage"]["accepted_tokens"] for answer in answers[-2:])


def test_the_engine_is_told_of(stepped_engine: Engine, runner: SteppedRunner) -> None:
    client = client_of(stepped_engine, max_rows=3)

    async def ask_during_a_step() -> Samples:
        async with admission_of(client.app).admit(5):
            request = PredictRequest(TEXT, explain=True)
            asking = asyncio.create_task(stepped_engine.predict(request))
            await asyncio.to_thread(runner.wait_for_step)
            found = samples(client.get("/metrics").text)
            asking.cancel()
        return found

    found = asyncio.run(ask_during_a_step())
    for name, expected in (
        ("slots", 6),
        ("slots_in_use", 2),
        ("inputs_in_work", 5),
        ("inputs_in_work_limit", 259),
        ("decoder_steps_total", 0),
    ):
        assert value(found, f"duet_{name}", model="tiny") == expected
    labels = {"model": "tiny", "version": "1", "task": "problems", "precision": "fp32"}
    assert value(found, "duet_model_info", **labels, device=stepped_engine.device) == 1
    assert value(found, "duet_build_info", version=__version__) == 1
    assert value(found, "process_resident_memory_bytes") > 1e6


def test_each_application_counts_for_itself(engine: Engine) -> None:
    clients = [client_of(engine) for _ in range(2)]
    clients[0].get("/nowhere")
    texts = [client.get("/metrics").text for client in clients]
    assert ["not_found" in text for text in texts] == [True, False]


def test_openmetrics_where_it_is_accepted(engine: Engine) -> None:
    response = client_of(engine).get(
        "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert {"duet_tokens", "duet_slots"} <= {f.name for f in parse_openmetrics(response.text)}


def test_promtool_finds_nothing_to_say(engine: Engine) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool; it comes with Debian's package prometheus")
    client = client_of(engine)
    client.post("/predict", json={"inputs": TEXT, "explain": True})
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    check = subprocess.run(
        [promtool, "check", "metrics"],
        input=response.text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("setting", "without", "with_key"), [("open", 200, 200), ("key", 401, 200), ("off", 404, 404)]
)
def test_metrics_may_be_shut(engine: Engine, setting: str, without: int, with_key: int) -> None:
    client = client_of(engine, metrics=setting, api_keys="user")
    assert client.get("/metrics").status_code == without
    assert client.get("/metrics", headers={"x-api-key": "user"}).status_code == with_key
