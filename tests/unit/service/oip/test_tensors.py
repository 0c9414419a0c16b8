import json
import math
import struct

import pytest

from service.errors import InvalidJson, ServiceError
from service.oip.tensors import InferResponse, OutputTensor, read_request, write_response


def text_tensor(name: str, *texts: bytes) -> tuple[dict[str, object], bytes]:
    content = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    parameters = {"binary_data_size": len(content)}
    shape = [len(texts)]
    return {"name": name, "shape": shape, "datatype": "BYTES", "parameters": parameters}, content


def body(*tensors: tuple[dict[str, object], bytes], **more: object) -> tuple[bytes, int]:
    head = json.dumps({"inputs": [tensor for tensor, _ in tensors], **more}).encode()
    return head + b"".join(content for _, content in tensors), len(head)


def test_binary_tensors_follow_each_other() -> None:
    content, size = body(text_tensor("a", b"", "é\n".encode()), text_tensor("b", b"x"), id="7")
    request, elements = read_request(content, size)
    assert [tensor.name for tensor in request.inputs] == ["a", "b"]
    assert request.id == "7"
    assert elements == [["", "é\n"], ["x"]]


@pytest.mark.parametrize("data", [["a", "b"], [["a"], ["b"]], [["a", "b"]]])
def test_data_may_be_nested_or_flat(data: list[object]) -> None:
    tensor = {"name": "a", "shape": [2, 1], "datatype": "BYTES", "data": data}
    _, elements = read_request(json.dumps({"inputs": [tensor]}).encode(), None)
    assert elements == [["a", "b"]]


def changed(**changes: object) -> tuple[bytes, int]:
    tensor, content = text_tensor("a", b"x", b"yz")
    return body(({**tensor, **changes}, content))


def sized(size: int) -> dict[str, object]:
    return {"parameters": {"binary_data_size": size}}


GOOD, SIZE = changed()


@pytest.mark.parametrize(
    ("content", "size", "message"),
    [
        (GOOD, len(GOOD) + 1, "inference-header-content-length: .*, but the body has"),
        (GOOD[:-1], SIZE, "a: binary_data_size 11, but 10 bytes are left"),
        (GOOD + b"0", SIZE, "the body: 1 bytes are left after the last tensor"),
        (*changed(**sized(5)), r"a: shape \[2\] has 2 elements, but there are 1"),
        (*changed(**sized(7)), "a: its binary data ends within a size"),
        (*changed(**sized(10)), "a: an element of 2 bytes, but 1 are left"),
        (*changed(**sized(-1)), "parameters.binary_data_size: Input should be greater"),
        (*changed(shape=[3]), r"a: shape \[3\] has 3 elements, but there are 2"),
        (*changed(shape=[]), "inputs.0.shape: List should have at least 1 item"),
        (*changed(shape=[1, 1, 2]), "inputs.0.shape: List should have at most 2 items"),
        (*changed(shape=[-2]), "inputs.0.shape.0: Input should be greater than or equal to 0"),
        (*changed(shape=[10**40]), "inputs.0.shape.0: Input should be less than"),
        (*changed(datatype="FP32"), "inputs.0.datatype: Input should be 'BYTES'"),
        (*changed(data=["x", "yz"]), "a: give data, or binary_data_size"),
        (*changed(parameters={}), "a: give data, or binary_data_size"),
        (*changed(parameters={"shared_memory_region": "r"}), "shared_memory_region: Extra inputs"),
        (*body(text_tensor("a", b"\xff")), "a: an element is not UTF-8 at its byte 0"),
        (*body(text_tensor("a", b"x"), parameters={"top_k": 0}), "parameters.top_k: Input should"),
        (*body(text_tensor("a", b"x"), parameters={"priority": 1}), "parameters.priority: Extra"),
        (*body(text_tensor("a", b"x"), outputs=[{"name": 5}]), "outputs.0.name: Input should be"),
        (b'{"inputs": []}', None, "inputs: List should have at least 1 item"),
        (b"[]", None, "body: Input should be"),
        (b'{"id": "\\ud800", "inputs": []}', None, "id: Value error, 'utf-8' codec can't encode"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, size: int | None, message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        read_request(content, size)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value at character 0"),
        (b'{"inputs": ', "Expecting value at character 11"),
        (b"\x1f\x8b", "it is not UTF-8 at byte 1"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"9" * 5000, "a number in it has too many digits"),
    ],
)
def test_what_is_no_json_says_why(content: bytes, message: str) -> None:
    with pytest.raises(InvalidJson, match=f"the body is not JSON: {message}"):
        read_request(content, None)


def response() -> InferResponse:
    return InferResponse(
        model_name="m",
        model_version="1",
        outputs=[
            OutputTensor(name="label", shape=[2], datatype="BYTES", data=["é", ""]),
            OutputTensor(name="answer", shape=[2], datatype="FP64", data=[0.5, None]),
        ],
    )


def test_an_answer_in_json() -> None:
    content, size = write_response(response(), [False, False])
    assert size is None
    assert json.loads(content) == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["é", ""]},
            {"name": "answer", "shape": [2], "datatype": "FP64", "data": [0.5, None]},
        ],
    }


def test_an_answer_with_binary_tensors() -> None:
    content, size = write_response(response(), [True, True])
    label, answer = json.loads(content[:size])["outputs"]
    assert (label["parameters"], answer["parameters"]) == (
        {"binary_data_size": 10},
        {"binary_data_size": 16},
    )
    assert "data" not in label
    assert content[size : size + 10] == b"\x02\0\0\0\xc3\xa9\0\0\0\0"
    number, nothing = struct.unpack("<dd", content[size + 10 :])
    assert number == 0.5
    assert math.isnan(nothing)


def test_an_answer_of_both_kinds() -> None:
    content, size = write_response(response(), [False, True])
    label, answer = json.loads(content[:size])["outputs"]
    assert label["data"] == ["é", ""]
    assert answer["parameters"] == {"binary_data_size": 16}
    assert len(content) == size + 16
