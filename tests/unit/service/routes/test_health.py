import asyncio

import pytest
from fastapi.testclient import TestClient

from service.admission import Admission
from service.engine import scheduler
from service.engine.engine import Engine
from service.engine.prediction import PredictRequest
from tests.support.stepped_runner import SteppedRunner


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_a_running_engine_is_well(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_a_dead_engine_is_told_of(
    stepped_client: TestClient, stepped_engine: Engine, path: str
) -> None:
    stepped_engine.close()
    response = stepped_client.get(path)
    assert response.status_code == 503
    assert response.json() == {
        "error": "the engine of tiny has died or is stuck",
        "error_type": "unavailable",
    }


def test_a_full_queue_takes_no_more_requests_and_lives(
    stepped_client: TestClient, stepped_admission: Admission
) -> None:
    async def ask_while_full() -> dict[str, int]:
        async with stepped_admission.admit(stepped_admission.max_inputs):
            return statuses(stepped_client)

    assert asyncio.run(ask_while_full()) == {"/livez": 200, "/readyz": 503, "/health": 503}
    assert set(statuses(stepped_client).values()) == {200}


def test_a_model_that_fails_again_and_again_is_not_ready(
    stepped_client: TestClient, runner: SteppedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.release()
    for i in range(scheduler.MAX_FAILURES):
        assert set(statuses(stepped_client).values()) == {200}
        runner.fault = RuntimeError(f"out of memory, {i}")
        assert stepped_client.post("/predict", json={"inputs": "Ann"}).status_code == 503
    assert statuses(stepped_client) == {"/livez": 200, "/readyz": 503, "/health": 503}
    with monkeypatch.context() as later:
        later.setattr(scheduler, "RETRY_SECONDS", 0.0)
        assert set(statuses(stepped_client).values()) == {200}
    assert stepped_client.post("/predict", json={"inputs": "Ann"}).status_code == 200
    assert set(statuses(stepped_client).values()) == {200}


def test_an_engine_that_is_stuck_in_a_step_does_not_live(
    stepped_client: TestClient,
    stepped_engine: Engine,
    runner: SteppedRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler, "STUCK_SECONDS", 0.0)
    assert set(statuses(stepped_client).values()) == {200}  # nothing to do

    async def ask_during_a_step() -> dict[str, int]:
        request = asyncio.create_task(stepped_engine.predict(PredictRequest("Ann")))
        await asyncio.to_thread(runner.wait_for_step)
        found = statuses(stepped_client)
        request.cancel()
        return found

    assert set(asyncio.run(ask_during_a_step()).values()) == {503}


def statuses(client: TestClient) -> dict[str, int]:
    return {path: client.get(path).status_code for path in ("/livez", "/readyz", "/health")}
