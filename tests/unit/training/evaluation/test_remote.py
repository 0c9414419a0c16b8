"""A service that is busy, is not there, or is none; the end-to-end tests ask a real one."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.support.server_process import serve_here
from training.evaluation import remote
from training.evaluation.labelled import LabelledRow
from training.evaluation.model import ModelError
from training.evaluation.remote import RemoteModel

TASK = {
    "name": "t",
    "fields": ["text"],
    "template": "{{text}}",
    "predict_prefix": "predict: ",
    "explain_prefix": "explain: ",
    "labels": ["no", "yes"],
    "answer": None,
    "examples": [],
}
MODEL: dict[str, Any] = {
    "name": "m",
    "version": "1",
    "checksum": "ab" * 32,
    "default": True,
    "task": TASK,
    "precision": "fp32",
    "limits": {},
    "metrics": {},
    "provenance": {},
    "license": "",
    "form": {},
    "examples": [],
}
INFO = {
    "version": "0.1.0",
    "default_model": "m",
    "models": ["m"],
    "max_client_batch": 4,
    "max_body_bytes": 2**21,
    "max_rows": 32,
    "max_queue": 64,
    "timeout": 60.0,
    "threads": 1,
    "more": 1,
}
USAGE = {"input_tokens": 9, "label_tokens": 2, "rationale_tokens": 5, "decoder_steps": 5}
SAID: dict[str, Any] = {
    "label": "yes",
    "confidence": 0.75,
    "scores": [{"label": "yes", "score": 0.75}, {"label": "no", "score": 0.25}],
    "decoder_passes": 2,
    "model": "m",
    "version": "1",
    "usage": USAGE | {"accepted_tokens": 3, "truncated": False},
}


class Service:
    """Answers as a service does, after what `first` says; counts what comes."""

    def __init__(self, first: list[Response], info: Any = INFO) -> None:
        self.first = first
        self.model = MODEL
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.at_once = self.most_at_once = 0
        self.app = Starlette(
            routes=[
                Route("/info", lambda _: JSONResponse(info)),
                Route("/models/m", lambda _: JSONResponse(self.model)),
                Route("/predict", self.predict, methods=["POST"]),
            ]
        )

    async def predict(self, request: Request) -> Response:
        self.keys.add(request.headers.get("authorization"))
        if self.first:
            return self.first.pop(0)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        body = await request.json()
        self.bodies.append(body)
        await asyncio.sleep(0.01 * (len(self.bodies) % 3))  # so that answers overtake each other
        self.at_once -= 1
        return JSONResponse(
            [
                SAID
                | {
                    "rationale": f"Because of {one['text']}.",
                    "usage": SAID["usage"] | {"truncated": int(one["text"]) % 3 == 0},
                }
                for one in body["inputs"]
            ]
        )


def rows(count: int) -> Iterator[LabelledRow]:
    for i in range(count):
        yield LabelledRow(i, f"rows, line {i + 1}", {"text": f"{i}"}, f"{i}", "yes", None, str(i))


@contextmanager
def asked(service: Service, key: str | None = None) -> Iterator[RemoteModel]:
    with (
        serve_here(service.app) as (host, port),
        closing(RemoteModel.connect(f"http://{host}:{port}/", key=key)) as model,
    ):
        yield model


def error(status: int, message: str, **headers: str) -> Response:
    return JSONResponse({"error": message, "error_type": "t"}, status, headers)


def test_answers_come_in_order_and_little_is_asked_at_once() -> None:
    service, read = Service([]), 0

    def counted() -> Iterator[LabelledRow]:
        nonlocal read
        for row in rows(200):
            read += 1
            yield row

    with asked(service, key="k") as model:
        assert model.together == 4  # as many as the service takes
        for number, answer in enumerate(model.answers(counted())):
            assert answer.rationale == f"Because of {number}."
            assert answer.truncated == (number % 3 == 0)
            assert read <= number + (remote.IN_FLIGHT + 2) * model.together
    assert number == 199
    assert (answer.label, answer.confidence) == ("yes", 0.75)
    assert [*(answer.probabilities or {}).items()] == [("no", 0.25), ("yes", 0.75)]
    assert 1 < service.most_at_once <= remote.IN_FLIGHT
    assert service.keys == {"Bearer k"}
    assert all(body["explain"] and body["truncate"] for body in service.bodies)


def test_a_busy_service_is_asked_again() -> None:
    busy = [
        error(429, "too much", **{"retry-after": "1"}),
        error(503, "not ready", **{"retry-after": "1"}),
        error(504, "too slow"),
    ]
    service = Service(busy)
    with asked(service) as model:
        said = [*model.answers(rows(8))]
    assert [answer.rationale for answer in said] == [f"Because of {i}." for i in range(8)]
    assert not service.first
    assert sorted(one["text"] for body in service.bodies for one in body["inputs"]) == [*"01234567"]


@pytest.mark.parametrize(
    ("response", "complaint"),
    [
        (error(422, "inputs[2].text: too long"), "/predict: rows, line 3.text: too long"),
        (error(500, "an error inside"), "/predict: an error inside"),
        (error(401, "a key is needed"), "a key is needed; set DUET_API_KEY"),
        (PlainTextResponse("<html>", 502), "/predict: HTTP status 502"),
        (JSONResponse(["a"]), "/predict: not the answer of a Duet service"),
        (PlainTextResponse("hello"), "/predict: not the answer of a Duet service"),
        (JSONResponse([]), "/predict: 0 answers to 4 inputs"),
        (JSONResponse([SAID] * 4), "/predict: not the answer of a Duet service"),  # unexplained
        (
            JSONResponse([SAID | {"rationale": "So.", "scores": []}] * 4),
            "/predict: not the answer of a Duet service",
        ),
    ],
)
def test_what_a_service_should_not_say(response: Response, complaint: str) -> None:
    with asked(Service([response])) as model, pytest.raises(ModelError) as refused:
        [*model.answers(rows(4))]
    assert complaint in str(refused.value)


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_model_that_is_replaced_meanwhile_is_noticed(version: str) -> None:
    service = Service([])
    with asked(service) as model:
        answers = model.answers(rows(400))
        before = [next(answers) for _ in range(40)]
        service.model = MODEL | {"version": version, "checksum": "cd" * 32}
        after = []
        with pytest.raises(ModelError) as refused:
            after.extend(answers)
    assert len(before) == 40
    assert len(after) < (remote.IN_FLIGHT + 2) * model.together  # of requests that were answered
    assert (
        f"m was replaced meanwhile: version 1 (abababababab) at the beginning, version {version} "
        "(cdcdcdcdcdcd) now" in str(refused.value)
    )


@pytest.mark.parametrize("info", ["hello", {"default_model": "m"}])
def test_what_is_no_service(info: Any) -> None:
    with pytest.raises(ModelError, match="/info: not the answer of a Duet service; expected its"):
        asked(Service([], info=info)).__enter__()


def test_nobody_there(unused_port: int) -> None:
    with pytest.raises(ModelError, match=r"/info: cannot be reached \(.*refused"):
        RemoteModel.connect(f"http://127.0.0.1:{unused_port}")


@pytest.mark.parametrize("url", ["http://", "http://[", "http://a:b:c", "http://no such host"])
def test_no_address(url: str) -> None:
    with pytest.raises(ModelError, match="/info: cannot be reached"):
        RemoteModel.connect(url)


def test_an_older_service_keeps_white_space(monkeypatch: pytest.MonkeyPatch) -> None:
    with asked(Service([])) as model:
        assert model.task.whitespace == "keep"
    monkeypatch.setitem(MODEL, "task", {**TASK, "whitespace": "collapse"})
    with asked(Service([])) as model:
        assert model.task.whitespace == "collapse"


def test_its_identity_is_what_it_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def identity() -> dict[str, str]:
        with asked(Service([])) as model:
            return model.identity

    before = identity()
    assert before == identity()  # on another port
    monkeypatch.setitem(MODEL, "default", False)
    assert before == identity()
    monkeypatch.setitem(MODEL, "checksum", "cd" * 32)
    assert before != identity()
    assert json.dumps(before)


def test_a_model_without_rationales_is_not_asked_to_explain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MODEL, "explains", False)
    service = Service([JSONResponse([SAID, SAID])])
    with asked(service) as model:
        records = [*model.answers(rows(2))]
    assert [record.rationale for record in records] == [None, None]
    with asked(Service([])) as model, pytest.raises(ModelError, match="not the answer of a Duet"):
        [*model.answers(rows(2))]  # it explains all the same
