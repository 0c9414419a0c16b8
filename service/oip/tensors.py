"""Requests and answers of the Open Inference Protocol (KServe's v2), with its binary extension.

With the extension, the body begins with JSON. The tensors that have a `binary_data_size` in the
JSON follow it, in the same order. Numbers are little-endian. A text is its size in bytes, as a
little-endian uint32, and then the text in UTF-8.
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

import json
import struct
from collections.abc import Iterator, Sequence
from math import prod
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    ValidationError,
)

from service.errors import InvalidJson, InvalidParameter
from service.schemas import EXAMPLE
from tasks.json_errors import why_unreadable

MAX_TENSORS = 64  # of a request; a task has a few fields
EXAMPLE_TENSOR: Final[dict[str, Any]] = {
    "name": "text",
    "shape": [1],
    "datatype": "BYTES",
    "data": [EXAMPLE],
}

DataType = Literal["BYTES", "FP64"]
Size = Annotated[StrictInt, Field(ge=0, lt=2**31)]


def _encodable(text: str) -> str:
    text.encode()  # raises a ValueError for JSON's \ud800, half of a character
    return text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TensorParameters(_Part):
    binary_data_size: Size | None = Field(None, description="the tensor's bytes after the JSON")


class InputTensor(_Part):
    """The texts of one field of the task."""

    name: str
    shape: list[Size] = Field(min_length=1, max_length=2)
    datatype: Literal["BYTES"]
    parameters: TensorParameters = TensorParameters()
    data: list[JsonValue] | None = Field(None, description="flat, or nested like the shape")


class OutputParameters(_Part):
    binary_data: StrictBool | None = None


class RequestedOutput(_Part):
    name: str
    parameters: OutputParameters = OutputParameters()


class InferParameters(_Part):
    """The parameters that the body of /predict has, too."""

    explain: StrictBool = False
    top_k: StrictInt | None = Field(None, ge=1)
    max_rationale_tokens: StrictInt | None = Field(None, ge=1)
    truncate: StrictBool = False
    binary_data_output: StrictBool = Field(
        False, description="whether outputs are binary that have no `binary_data` of their own"
    )


class InferRequest(_Part):
    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": [EXAMPLE_TENSOR]}]})

    id: Annotated[str, AfterValidator(_encodable)] | None = None
    parameters: InferParameters = InferParameters()
    inputs: list[InputTensor] = Field(min_length=1, max_length=MAX_TENSORS)
    outputs: list[RequestedOutput] = Field(
        [], max_length=MAX_TENSORS, description="the outputs to return; without any, all"
    )


class OutputTensor(BaseModel):
    name: str
    shape: list[int]
    datatype: DataType
    parameters: TensorParameters | None = None
    data: list[str | float | None] | None = None


class InferResponse(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


def read_request(body: bytes, json_size: int | None) -> tuple[InferRequest, list[list[Any]]]:
    """The request, and the elements of each of its inputs in flat order.

    `json_size` is the number of bytes of the body that are JSON; None: all. Elements from JSON may
    be other values than texts. Raises InvalidJson, InvalidParameter.
    """
    size = len(body) if json_size is None else json_size
    if size > len(body):
        raise InvalidParameter(
            f"inference-header-content-length: {size}, but the body has {len(body)} bytes"
        )
    try:
        request = InferRequest.model_validate(json.loads(body[:size]))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "body"
        raise InvalidParameter(f"{place}: {problem['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"the body is not JSON: {why_unreadable(error)}") from error
    elements, rest = [], memoryview(body)[size:]
    for tensor in request.inputs:
        binary_size = tensor.parameters.binary_data_size
        if (binary_size is None) == (tensor.data is None):
            raise InvalidParameter(f"{tensor.name}: give data, or binary_data_size")
        if binary_size is None:
            elements.append(list(_flat(tensor.data or [])))
        else:
            if binary_size > len(rest):
                raise InvalidParameter(
                    f"{tensor.name}: binary_data_size {binary_size}, but {len(rest)} bytes are left"
                )
            elements.append(list(_unpack(tensor.name, rest[:binary_size])))
            rest = rest[binary_size:]
        wanted, got = prod(tensor.shape), len(elements[-1])
        if wanted != got:
            raise InvalidParameter(
                f"{tensor.name}: shape {tensor.shape} has {wanted} elements, but there are {got}"
            )
    if rest:
        raise InvalidParameter(f"the body: {len(rest)} bytes are left after the last tensor")
    return request, elements


def write_response(response: InferResponse, binary: Sequence[bool]) -> tuple[bytes, int | None]:
    """The body, and the number of its bytes that are JSON (None: all).

    `binary` says, for each output, whether it is binary.
    """
    packed = []
    for tensor, wanted in zip(response.outputs, binary, strict=True):
        if wanted:
            packed.append(_pack(tensor))
            tensor.parameters = TensorParameters(binary_data_size=len(packed[-1]))
            tensor.data = None
    head = response.model_dump_json(exclude_none=True).encode()
    return b"".join([head, *packed]), len(head) if packed else None


def _flat(data: Sequence[Any]) -> Iterator[Any]:
    for item in data:
        if isinstance(item, list):
            yield from item
        else:
            yield item


def _unpack(name: str, content: memoryview) -> Iterator[str]:
    place = 0
    while place < len(content):
        begin = place + 4
        if begin > len(content):
            raise InvalidParameter(f"{name}: its binary data ends within a size")
        (size,) = struct.unpack_from("<I", content, place)
        place = begin + size
        if place > len(content):
            raise InvalidParameter(
                f"{name}: an element of {size} bytes, but {len(content) - begin} are left"
            )
        try:
            yield str(content[begin:place], "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidParameter(
                f"{name}: an element is not UTF-8 at its byte {error.start}"
            ) from error


def _pack(tensor: OutputTensor) -> bytes:
    if tensor.datatype == "FP64":
        return np.array(tensor.data, "<f8").tobytes()
    texts = [str(text).encode() for text in tensor.data or []]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
