"""The Open Inference Protocol, spoken by NVIDIA's own client."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from tests.support.bundles import CHOICES, reference, write_bundle
from tests.support.server_process import ROOT, Server, serve
from tests.support.tiny_students import Student, problems


@pytest.fixture(scope="module")
def server(
    tiny_bundle: Path, student: Student, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    write_bundle(folder / "choices", student, name="choices", version="3", task=CHOICES)
    models = f"{tiny_bundle},{folder}/choices"
    with serve(folder / "log", DUET_MODELS=models, DUET_THREADS="1") as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(urlsplit(server.url).netloc)
    yield client
    client.close()


def tensor(name: str, values: object, *, binary: bool = True) -> InferInput:
    array = np.array(values, np.object_)
    given = InferInput(name, array.shape, "BYTES")
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def texts_of(result: InferResult, name: str) -> list[Any]:
    """Binary tensors come as bytes, those in JSON as texts."""
    array = result.as_numpy(name)
    texts = [text if isinstance(text, str) else text.decode() for text in array.flat]
    return np.array(texts, np.object_).reshape(array.shape).tolist()


def test_health_and_metadata(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("tiny", "2")
    assert not client.is_model_ready("nobody")
    metadata = client.get_model_metadata("choices", "3")
    assert (metadata["name"], metadata["versions"]) == ("choices", ["3"])
    assert metadata["inputs"] == [
        {"name": "text", "datatype": "BYTES", "shape": [-1]},
        {"name": "choices", "datatype": "BYTES", "shape": [-1, -1]},
    ]
    assert [output["name"] for output in metadata["outputs"]] == [
        *("label", "confidence", "scores", "score_labels", "rationale")
    ]
    tiny = client.get_model_metadata("tiny")
    assert {"name": "answer", "datatype": "FP64", "shape": [-1]} in tiny["outputs"]


@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("column", [True, False])
def test_a_batch(
    client: InferenceServerClient,
    student: Student,
    binary_in: bool,
    binary_out: bool | None,
    column: bool,
) -> None:
    texts = problems(5)
    values = [[text] for text in texts] if column else texts
    names = ("rationale", "label", "confidence", "answer")
    outputs = [InferRequestedOutput(name, binary_data=bool(binary_out)) for name in names]
    result = client.infer(
        "tiny",
        [tensor("text", values, binary=binary_in)],
        outputs=None if binary_out is None else outputs,
        request_id="42",
        parameters={"explain": True},
    )
    expected = [reference(student, text) for text in texts]
    assert texts_of(result, "label") == [voices.label.text for voices in expected]
    assert texts_of(result, "rationale") == [voices.rationale.text for voices in expected]
    np.testing.assert_allclose(
        result.as_numpy("confidence"),
        [np.exp(voices.label.logprob) for voices in expected],
        rtol=1e-3,
    )
    assert result.as_numpy("answer").dtype == np.float64
    response = result.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == (
        "tiny",
        "1",
        "42",
    )
    if binary_out is not None:
        assert [output["name"] for output in response["outputs"]] == list(names)


def test_labels_that_inputs_bring(client: InferenceServerClient) -> None:
    texts, choices = problems(2), [["pens", "apples", "stamps"], ["apples", "marbles", ""]]
    result = client.infer(
        "choices", [tensor("choices", choices), tensor("text", texts)], model_version="3"
    )
    labels = texts_of(result, "score_labels")
    scores = result.as_numpy("scores")
    assert set(labels[0]) == set(choices[0])
    assert set(labels[1][:2]) == {"apples", "marbles"}
    assert (labels[1][2], scores[1, 2]) == ("", 0.0)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert texts_of(result, "label") == [row[0] for row in labels]
    assert result.as_numpy("confidence").tolist() == scores[:, 0].tolist()
    best = client.infer(
        "choices", [tensor("choices", choices), tensor("text", texts)], parameters={"top_k": 1}
    )
    assert best.as_numpy("scores").tolist() == scores[:, :1].tolist()


def test_the_page_on_serving_shows_how(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (
        block
        for block in re.findall(
            "```python\n(.*?)```", (ROOT / "service/README.md").read_text(), re.S
        )
        if "tritonclient" in block
    )
    address = urlsplit(server.url).netloc
    exec(code.replace("127.0.0.1:8000", address).replace("svamp-numbers", "tiny"), {})
    label, rationale = capsys.readouterr().out.split("] [")
    assert label.startswith("[b'")
    assert rationale.startswith("b'")


def test_errors_reach_the_client(client: InferenceServerClient) -> None:
    for name, inputs, parameters, status, message in (
        ("nobody", [tensor("text", ["a"])], {}, "404", "model 'nobody': unknown"),
        ("tiny", [tensor("txt", ["a"])], {}, "422", r"inputs\[0\]: text is missing; expected"),
        ("tiny", [tensor("text", ["a", " "])], {}, "400", r"inputs\[1\]: text is empty"),
        ("tiny", [tensor("text", ["a"] * 33)], {}, "413", "33 of them, but a request may hold 32"),
        ("tiny", [tensor("text", ["a"])], {"explian": True}, "422", "parameters.explian: Extra"),
        (
            *("tiny", [tensor("text", [["a", "b"]])], {}, "422"),
            r"text: expected shape \[N\] or \[N,1\], got \[1, 2\]",
        ),
    ):
        with pytest.raises(InferenceServerException, match=message) as error:
            client.infer(name, inputs, parameters=parameters)
        assert error.value.status() == status
