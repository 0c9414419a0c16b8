"""Requests that are nearly right, by the whole application: each is answered as it is documented.

TestClient raises whatever the application does not turn into an answer.
"""

import json
import struct
from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any, Final

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from export.bundle import Limits
from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tasks.task import LabelField, Task
from tests.support.bundles import TASK, write_bundle
from tests.support.tiny_students import Student
from tests.unit.service.fuzz.strategies import (
    INPUTS,
    damaged_bytes,
    damaged_json,
    fuzzing,
    plain_texts,
    rarely,
    texts,
)

TASKS: Final = {
    "open": TASK,
    "closed": Task(
        name="nli",
        fields=["premise", "hypothesis"],
        template="{{premise}}</s>{{hypothesis}}",
        labels=["yes", "no", "not sure"],
    ),
    "choices": Task(
        name="cqa",
        fields=["question", "choices"],
        template="{{question}}{% for choice in choices %}\n({{loop.index}}) {{choice}}{% endfor %}",
        labels=LabelField(field="choices"),
    ),
}
LIMITS: Final = Limits(input_tokens=128, label_tokens=12, rationale_tokens=4)
ODD_SHAPES: Final[list[list[int]]] = [[10**6, 0], [10**6], [0, 3], [0, 0], [0], []]
JSON_SIZE: Final = "inference-header-content-length"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, student: Student) -> Iterator[TestClient]:
    engines = {}
    for name, task in TASKS.items():
        folder = tmp_path_factory.mktemp("fuzz") / name
        write_bundle(folder, student, name=name, task=task, limits=LIMITS)
        engines[name] = Engine.load(folder, threads=1, max_rows=4)
    settings = Settings(max_client_batch=4, max_body_bytes=150_000)
    with TestClient(create_app(settings, Registry(engines))) as client:
        yield client


@st.composite
def inputs(draw: st.DrawFn, task: Task) -> Any:
    """An input that is nearly always one of the task's."""
    fields = {field: draw(texts if rarely(draw) else plain_texts) for field in task.fields}
    if task.choices:
        few = st.lists(st.sampled_from(["red", "blue", "green", "grey"]), min_size=1, max_size=4)
        fields[task.choices] = draw(st.lists(texts) if rarely(draw) else few)
    return fields["text"] if len(fields) == 1 and draw(st.booleans()) else fields


OPTIONS: Final = {
    "explain": st.booleans(),
    "top_k": st.integers(1, 5) | st.none(),
    "max_rationale_tokens": st.integers(1, 5) | st.none(),
    "truncate": st.booleans(),
}


@st.composite
def predict_bodies(draw: st.DrawFn) -> bytes:
    name, task = draw(st.sampled_from(list(TASKS.items())))
    several = st.lists(inputs(task), min_size=1, max_size=5 if rarely(draw) else 4)
    body = draw(
        st.fixed_dictionaries(
            {"inputs": inputs(task) | several, "model": st.just(name)},
            optional={**OPTIONS, "stream": st.booleans()},
        )
    )
    if rarely(draw):
        body = draw(damaged_json(body))
    content = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return draw(damaged_bytes(content)) if rarely(draw) else content


@st.composite
def columns(draw: st.DrawFn, task: Task, field: str, rows: int) -> tuple[list[str], list[int]]:
    """The elements and the shape of a tensor for a field, nearly always ones that fit."""
    parts, shape = plain_texts, [rows]
    if field == task.choices:
        parts, shape = st.sampled_from(["red", "blue"]), [rows, draw(st.integers(1, 3))]
    column = draw(st.lists(parts, min_size=prod(shape), max_size=prod(shape)))
    if rarely(draw):
        column[draw(st.integers(0, len(column) - 1))] = draw(texts)
    if rarely(draw):
        shape = draw(st.sampled_from([*ODD_SHAPES, [rows, 1], [1, rows], [rows, 1, 1]]))
    return column, shape


OUTPUTS: Final = ["label", "confidence", "scores", "score_labels", "rationale", "answer"]
wanted = st.fixed_dictionaries(
    {"name": st.sampled_from(OUTPUTS)},
    optional={"parameters": st.fixed_dictionaries({"binary_data": st.booleans()})},
)
parameters = st.fixed_dictionaries({}, optional={**OPTIONS, "binary_data_output": st.booleans()})


@st.composite
def infer_requests(draw: st.DrawFn) -> tuple[str, bytes, int | None]:
    """A model's name, a body, and how many bytes of it are JSON."""
    name, task = draw(st.sampled_from(list(TASKS.items())))
    rows, tensors, tail = draw(st.integers(1, 4)), [], b""
    for field in task.fields:
        column, shape = draw(columns(task, field, rows))
        tensor: dict[str, Any] = {"name": field, "shape": shape, "datatype": "BYTES"}
        if draw(st.booleans()):
            tensor["data"] = column
        else:
            encoded = [text.encode("utf-8", "surrogatepass") for text in column]
            binary = b"".join(struct.pack("<I", len(text)) + text for text in encoded)
            if rarely(draw):
                binary = draw(damaged_bytes(binary))
            tensor["parameters"] = {"binary_data_size": len(binary)}
            tail += binary
        tensors.append(tensor)
    body = draw(
        st.fixed_dictionaries(
            {"inputs": st.just(tensors)},
            optional={
                "id": texts,
                "parameters": parameters,
                "outputs": st.lists(wanted, max_size=3),
            },
        )
    )
    if rarely(draw):
        body = draw(damaged_json(body))
    head = json.dumps(body).encode()
    if rarely(draw):
        head = draw(damaged_bytes(head))
    size = len(head) if tail or draw(st.booleans()) else None
    if rarely(draw):
        size = draw(st.none() | st.integers(0, 2 * len(head)))
    return name, head + tail, size


def outcome(client: TestClient, path: str, response: Any) -> str:
    """What became of a request, which must be documented."""
    documented = client.app.openapi()["paths"][path]["post"]["responses"]  # type: ignore[attr-defined]
    assert str(response.status_code) in documented
    assert response.status_code < 500, response.text
    if response.status_code == 200:
        return "answered"
    error = response.json()
    assert 0 < len(error["error"]) < 2000
    return f"{response.status_code} {error.get('error_type', '')}"


def test_predict(client: TestClient) -> None:
    seen: Counter[str] = Counter()

    @fuzzing
    @given(predict_bodies())
    def ask(body: bytes) -> None:
        headers = {"content-type": "application/json"}
        response = client.post("/predict", content=body, headers=headers)
        seen[outcome(client, "/predict", response)] += 1
        if response.headers["content-type"] == "application/json" and response.status_code == 200:
            answers = response.json()
            for answer in answers if isinstance(answers, list) else [answers]:
                assert 0 <= answer["confidence"] <= 1

    ask()
    print(seen.most_common())
    assert seen["answered"] > INPUTS / 3


def test_infer(client: TestClient) -> None:
    seen: Counter[str] = Counter()

    @fuzzing
    @given(infer_requests())
    def ask(request: tuple[str, bytes, int | None]) -> None:
        name, body, size = request
        headers = {} if size is None else {JSON_SIZE: str(size)}
        response = client.post(f"/v2/models/{name}/infer", content=body, headers=headers)
        seen[outcome(client, "/v2/models/{name}/infer", response)] += 1

    ask()
    print(seen.most_common())
    assert seen["answered"] > INPUTS / 4
