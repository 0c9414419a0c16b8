import asyncio
from collections.abc import Sequence

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from service.admission import Admission
from service.engine.engine import Engine
from service.errors import INTERNAL
from tests.support.bundles import reference
from tests.support.server_process import events, serve_here, wait_until
from tests.support.stepped_runner import TIMEOUT, SteppedRunner
from tests.support.tiny_students import Student, problems

TEXT = problems(1)[0]


@pytest.mark.parametrize("explain", [False, True])
def test_a_stream_tells_what_the_answer_tells(client: TestClient, explain: bool) -> None:
    body = {"inputs": TEXT, "explain": explain}
    whole = client.post("/predict", json=body).json()
    response = client.post("/predict", json=body | {"stream": True})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    for stage in ("total", "tokenization", "queue", "inference"):
        assert float(response.headers[f"x-{stage}-time"]) >= 0
    (first, label), *pieces, (last, done) = events(response.text)
    assert (first, last) == ("label", "done")
    assert label == {name: whole[name] for name in ("label", "confidence", "answer", "scores")}
    assert done == whole | {"usage": done["usage"]}
    assert done["usage"]["rationale_tokens"] == whole["usage"]["rationale_tokens"]
    assert {name for name, _ in pieces} == ({"rationale"} if explain else set())
    assert "".join(piece["text"] for _, piece in pieces) == whole.get("rationale", "")


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"inputs": ""}, 400, "inputs: text is empty"),
        ({"inputs": "a" * 5000}, 422, "inputs: more than 1024 tokens"),
        ({"model": "b"}, 404, "model 'b': unknown"),
        ({"max_rationale_tokens": 49}, 422, "max_rationale_tokens: 49"),
    ],
)
def test_an_error_before_the_stream_has_its_status(
    client: TestClient, changes: dict[str, object], status: int, message: str
) -> None:
    response = client.post("/predict", json={"inputs": TEXT, "stream": True} | changes)
    assert response.status_code == status
    assert response.json()["error"].startswith(message)


def test_a_full_queue_refuses_a_stream(client: TestClient, admission: Admission) -> None:
    async def ask_while_full() -> httpx.Response:
        async with admission.admit(admission.max_inputs):
            return client.post("/predict", json={"inputs": TEXT, "stream": True})

    response = asyncio.run(ask_while_full())
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1


@pytest.fixture
def label_steps(stepped_engine: Engine, student: Student, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many steps the label takes, and its rationale takes more."""
    monkeypatch.setattr(stepped_engine, "_speculate", False)
    label, rationale = reference(student, TEXT)
    assert len(label.tokens) < len(rationale.tokens)
    return len(label.tokens)


@pytest.mark.parametrize("error_type", ["unavailable", "deadline_exceeded"])
def test_an_error_in_a_stream_is_its_last_event(
    error_type: str,
    stepped_client: TestClient,
    runner: SteppedRunner,
    label_steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deadlines: list[asyncio.Timeout] = []
    timeout = asyncio.timeout

    def remember(seconds: float | None) -> asyncio.Timeout:
        deadlines.append(timeout(seconds))
        return deadlines[-1]

    monkeypatch.setattr(asyncio, "timeout", remember)
    body = {"inputs": TEXT, "explain": True, "stream": True}
    runner.allowed.release(label_steps)
    with serve_here(stepped_client.app) as (host, port):
        url = f"http://{host}:{port}/predict"
        with httpx.stream("POST", url, json=body, timeout=TIMEOUT) as response:
            assert response.status_code == 200
            lines = []
            for line in response.iter_lines():
                lines.append(line)
                if len(lines) == 3:  # the label has come
                    if error_type == "unavailable":
                        runner.fault = RuntimeError("out of memory")
                        runner.release()
                    else:
                        (deadline,) = deadlines
                        loop = deadline._task.get_loop()
                        loop.call_soon_threadsafe(deadline.reschedule, 0)
    (first, _), *_, (last, error) = events("\n".join([*lines, ""]))
    assert (first, last) == ("label", "error")
    assert error.keys() == {"error", "error_type"}
    assert error["error_type"] == error_type


def test_a_failure_in_a_stream_shows_nothing_of_itself(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(_: Sequence[int]) -> str:
        raise UnicodeError("secret")

    monkeypatch.setattr(engine._text, "decode_settled", decode)
    body = {"inputs": TEXT, "explain": True, "stream": True}
    (first, _), last = events(client.post("/predict", json=body).text)
    assert first == "label"
    assert last == ("error", {"error": INTERNAL, "error_type": "internal"})


def test_who_leaves_a_stream_gives_back_the_rows(
    stepped_client: TestClient,
    stepped_admission: Admission,
    runner: SteppedRunner,
    label_steps: int,
) -> None:
    """A real connection, closed after the label, in the midst of the rationale."""
    body = {"inputs": TEXT, "explain": True, "stream": True}
    with serve_here(stepped_client.app) as (host, port):
        url = f"http://{host}:{port}/predict"
        runner.allowed.release(label_steps)
        with httpx.stream("POST", url, json=body, timeout=TIMEOUT) as response:
            lines = response.iter_lines()  # whose end would close the connection
            assert next(lines) == "event: label"
            for _ in range(label_steps + 1):
                runner.wait_for_step()
        wait_until(lambda: not stepped_admission.inputs)  # the server has noticed
        runner.release()
        prediction = httpx.post(url, json={"inputs": TEXT}, timeout=TIMEOUT).json()
    # the step that it left in is the last one
    left = [2] * label_steps + [1]
    assert runner.rows == left + [1] * prediction["usage"]["decoder_steps"]
