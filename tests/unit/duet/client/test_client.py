"""The clients, before a real server in this process. Each test is of both."""

import inspect
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from duet.client import (
    Answer,
    AsyncClient,
    Client,
    DuetError,
    Label,
    ModelInfo,
    Options,
    Score,
    ServiceInfo,
    Usage,
)
from service.engine.engine import Engine
from service.errors import Overloaded
from service.schemas import LabelAnswer, PredictAnswer, PredictBody
from service.schemas import ModelInfo as ServedModelInfo
from service.schemas import ServiceInfo as ServedServiceInfo
from service.settings import Settings
from tests.conftest import ROOT
from tests.support.bundles import reference
from tests.support.clients import Connect, Waits
from tests.support.server_process import TIMEOUT, admission_of, serve_here
from tests.support.tiny_students import Student, problems

TEXTS = problems(3)


def test_what_is_served(duet: Client, engine: Engine) -> None:
    info = duet.info()
    assert (info.default_model, info.models) == ("tiny", ["tiny"])
    assert (info.max_client_batch, info.timeout) == (Settings().max_client_batch, 60)
    (model,) = duet.models()
    assert model == duet.model("tiny")
    assert (model.checksum, model.default) == (engine.manifest.checksum, True)
    assert model.task["fields"] == ["text"]
    with pytest.raises(DuetError, match=r"model 'what\?': unknown") as raised:
        duet.model("what?")
    assert raised.value.status == 404


def answering(*responses: Response) -> tuple[Starlette, list[Request]]:
    """A server that answers with these one after the other, and the requests that it had."""
    requests: list[Request] = []
    left = iter(responses)

    async def answer(request: Request) -> Response:
        requests.append(request)
        return next(left)

    routes = [Route("/{path:path}", answer, methods=["GET", "POST"])]
    return Starlette(routes=routes), requests


def test_an_answer(duet: Client, student: Student) -> None:
    label, rationale = reference(student, TEXTS[0])
    answer = duet.predict({"text": TEXTS[0]}, explain=True, model="tiny")
    assert (answer.label, answer.rationale) == (label.text, rationale.text)
    assert answer.scores == [Score(label=label.text, score=answer.confidence)]
    assert answer.usage.rationale_tokens == len(rationale.tokens)
    assert duet.predict(TEXTS[0]).rationale is None


def test_a_batch(duet: Client, student: Student) -> None:
    answers = duet.predict_batch(TEXTS)
    assert [answer.label for answer in answers] == [
        reference(student, text).label.text for text in TEXTS
    ]


def test_a_stream(duet: Client) -> None:
    whole = duet.predict(TEXTS[0], explain=True)
    label, *pieces, answer = duet.stream(TEXTS[0], explain=True)
    assert isinstance(label, Label)
    assert label.label == whole.label
    assert "".join(map(str, pieces)) == whole.rationale
    assert isinstance(answer, Answer)
    assert answer == whole.model_copy(update={"usage": answer.usage})


def test_it_knows_all_that_is_answered_and_asked() -> None:
    assert Answer.model_fields.keys() == PredictAnswer.model_fields.keys()
    assert Label.model_fields.keys() == LabelAnswer.model_fields.keys()
    usage = PredictAnswer.model_json_schema()["$defs"]["Usage"]
    assert Usage.model_fields.keys() == usage["properties"].keys()
    assert ModelInfo.model_fields.keys() == ServedModelInfo.model_fields.keys()
    assert ServiceInfo.model_fields.keys() == ServedServiceInfo.model_fields.keys()
    asked = PredictBody.model_fields.keys()
    assert Options.__annotations__.keys() == asked - {"inputs", "stream"}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_refusal(duet: Client, streamed: bool) -> None:
    with pytest.raises(DuetError, match="inputs: text is empty") as raised:
        list(duet.stream(" ")) if streamed else duet.predict(" ")
    assert (raised.value.status, raised.value.error_type) == (400, "empty_input")


def test_an_overloaded_service_is_asked_again_when_it_says(
    duet: Client, app: FastAPI, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = admission_of(app)
    monkeypatch.setattr(admission, "inputs", admission.max_inputs)

    def free_at_the_second_wait() -> None:
        if len(waits) == 2:
            admission.inputs = 0

    waits.meanwhile = free_at_the_second_wait
    assert duet.predict(TEXTS[0]).label
    assert len(waits) == 2
    assert min(waits) >= 1
    admission.inputs = admission.max_inputs
    with pytest.raises(DuetError) as raised:
        next(duet.stream(TEXTS[0]))
    assert (raised.value.status, raised.value.error_type) == (429, Overloaded.error_type)
    assert len(waits) == 2 + 3


def test_what_a_proxy_says(connect: Connect, waits: Waits) -> None:
    date = {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}
    busy = JSONResponse({"error": "slow down"}, 429, date)
    app, requests = answering(busy, PlainTextResponse("<html>", 502))
    with (
        serve_here(app) as (host, port),
        connect(f"http://{host}:{port}/duet", key="k") as client,
        pytest.raises(DuetError, match="HTTP status 502") as raised,
    ):
        client.predict(TEXTS[0])
    assert raised.value.status == 502
    assert waits == [1]
    assert [request.url.path for request in requests] == ["/duet/predict"] * 2
    assert requests[0].headers["authorization"] == "Bearer k"


@pytest.mark.parametrize("status", [429, 503, 504])
def test_who_does_not_say_when_to_come_again_is_asked_less_and_less_often(
    status: int, connect: Connect, waits: Waits
) -> None:
    late = JSONResponse({}, status, {"retry-after": "100000"})
    app, requests = answering(*[JSONResponse({}, status)] * 6, late, JSONResponse([]))
    with serve_here(app) as (host, port), connect(f"http://{host}:{port}", retries=7) as client:
        assert client.models() == []
    assert waits == [1, 2, 4, 8, 16, 30, 300]
    assert len(requests) == 8


@pytest.mark.parametrize("body", ["hello", "[1]", "{}"])
def test_what_is_no_duet(body: str, connect: Connect) -> None:
    app, _ = answering(PlainTextResponse(body))
    with (
        serve_here(app) as (host, port),
        connect(f"http://{host}:{port}") as client,
        pytest.raises(DuetError, match="not the answer of a Duet service") as raised,
    ):
        client.info()
    assert (raised.value.status, raised.value.error_type) == (200, "not_duet")


def test_a_connection_that_breaks_is_opened_again(connect: Connect) -> None:
    """As one that was kept, and that the other side has closed meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            listener.accept()[0].close()
            connection, _ = listener.accept()
            with connection:
                connection.recv(2**16)
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                connection.sendall(head + b"content-length: 2\r\nconnection: close\r\n\r\n[]")

        host, port = listener.getsockname()
        with ThreadPoolExecutor(1) as pool, connect(f"http://{host}:{port}") as client:
            answered = pool.submit(answer)
            assert client.models() == []
            answered.result(TIMEOUT)


def test_a_stream_that_breaks_off(connect: Connect) -> None:
    app, _ = answering(PlainTextResponse(": ping\n\n", media_type="text/event-stream"))
    with (
        serve_here(app) as (host, port),
        connect(f"http://{host}:{port}") as client,
        pytest.raises(DuetError, match="broke off"),
    ):
        list(client.stream(TEXTS[0]))


@pytest.mark.parametrize(
    "event", ["event: label\ndata: {}", "event: rationale\ndata: [1]", "event: done\ndata: hello"]
)
def test_an_event_that_is_no_duets(event: str, connect: Connect) -> None:
    stream = f"event: other\ndata: 1\n\n{event}\n\n"  # one that is unknown is passed over
    app, _ = answering(PlainTextResponse(stream, media_type="text/event-stream"))
    with (
        serve_here(app) as (host, port),
        connect(f"http://{host}:{port}") as client,
        pytest.raises(DuetError, match="not the answer of a Duet service") as raised,
    ):
        list(client.stream(TEXTS[0]))
    assert (raised.value.status, raised.value.error_type) == (None, "not_duet")


def test_no_proxy_stands_before_this_machine(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    app, _ = answering(JSONResponse([]), JSONResponse([]))
    with serve_here(app) as (_, port):
        for host in ("127.0.0.1", "localhost"):
            with connect(f"http://{host}:{port}") as client:
                assert client.models() == []
    proxy, requests = answering(JSONResponse([]))
    with serve_here(proxy) as (host, port), monkeypatch.context() as patch:
        patch.setenv("HTTP_PROXY", f"http://{host}:{port}")
        with connect("http://192.0.2.1") as client:
            assert client.models() == []
    assert requests[0].headers["host"] == "192.0.2.1"


def test_a_client_needs_no_part_of_the_service() -> None:
    """Only the extra `client` is installed where another project asks a service."""
    program = "import sys, duet.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"duet", "httpx2", "pydantic"} <= loaded
    assert not loaded & {"fastapi", "numpy", "onnxruntime", "service", "tasks", "tokenizers"}


def test_nobody_there(connect: Connect) -> None:
    with connect("http://127.0.0.1:9") as client, pytest.raises(httpx2.TransportError):
        client.predict(TEXTS[0])


def test_both_clients_have_the_same_methods() -> None:
    blocking, asynchronous = (
        {
            name: str(inspect.signature(method)).partition(" -> ")[0]
            for name, method in vars(client).items()
            if inspect.isfunction(method) and not name.startswith("_")
        }
        for client in (Client, AsyncClient)
    )
    assert asynchronous.pop("aclose") == blocking.pop("close")
    assert asynchronous == blocking
    assert inspect.signature(Client) == inspect.signature(AsyncClient)
