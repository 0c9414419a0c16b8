"""The routes of the Open Inference Protocol (KServe's v2), for tritonclient and KServe clients."""

import reprlib
import time
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel

from service import __version__
from service.engine.prediction import PredictRequest
from service.errors import (
    INFERENCE_PROTOCOL,
    EngineUnavailable,
    InferenceErrorBody,
    InvalidParameter,
    responses,
)
from service.inputs import (
    RequestTimeout,
    check_count,
    predict_all,
    refuse_encodings,
    timing_headers,
)
from service.oip.task_tensors import inputs_of, outputs_of, tensor_of
from service.oip.tensors import InferRequest, InferResponse, read_request, write_response
from service.routes import CurrentMetrics, CurrentSettings, Models
from service.routes import health as service_health

JSON_SIZE: Final = "inference-header-content-length"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Live(BaseModel):
    live: bool = True


class Ready(BaseModel):
    ready: bool = True


class ModelReady(Ready):
    name: str


class ServerMetadata(BaseModel):
    name: str = "duet"
    version: str = __version__
    extensions: list[str] = ["binary_tensor_data"]


class TensorMetadata(BaseModel):
    """A tensor of a model. In its shape, -1 stands for any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str = "duet"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def _errors(errors: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    return responses(errors, InferenceErrorBody)


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without references. FastAPI resolves references only for bodies that it reads."""
    definitions = schema.pop("$defs", {})

    def resolve(part: Any) -> Any:
        if isinstance(part, list):
            return list(map(resolve, part))
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            part = {**definitions[part.pop("$ref").rpartition("/")[2]], **part}
        return {key: resolve(value) for key, value in part.items()}

    inlined: dict[str, Any] = resolve(schema)
    return inlined


UNKNOWN: Final = {404: "no model has this name and version"}
UNREADY: Final = UNKNOWN | {503: "the model cannot answer now"}
FACTS: Final[dict[str, Any]] = {
    "prefix": INFERENCE_PROTOCOL,
    "tags": ["open inference protocol"],
    "responses": _errors({500: "an error inside the service"}),
}
health = APIRouter(**FACTS)
router = APIRouter(**FACTS)


def _of_model(
    method: Callable[..., Any], path: str, name: str, **facts: Any
) -> Callable[[Endpoint], Endpoint]:
    """Registers a route of a model, with and without the version in the path."""

    def register(endpoint: Endpoint) -> Endpoint:
        for version, suffix in (("", ""), ("/versions/{version}", "_of_version")):
            route = f"/models/{{name}}{version}{path}"
            method(route, operation_id=f"{name}{suffix}", **facts)(endpoint)
        return endpoint

    return register


@health.get("/health/live", operation_id="oip_live", responses=_errors({503: "as /livez"}))
async def live(models: Models) -> Live:
    await service_health.live(models)
    return Live()


@health.get("/health/ready", operation_id="oip_ready", responses=_errors({503: "as /readyz"}))
async def ready(models: Models) -> Ready:
    await service_health.ready(models)
    return Ready()


@router.get("", operation_id="oip_server")
async def server_metadata() -> ServerMetadata:
    return ServerMetadata()


@_of_model(
    router.get,
    "/ready",
    "oip_model_ready",
    responses=_errors(UNREADY),
)
async def model_ready(name: str, models: Models, version: str | None = None) -> ModelReady:
    engine = await models.require(name, version)
    if engine.broken or not engine.alive:
        raise EngineUnavailable(f"{name} cannot answer now")
    return ModelReady(name=name)


@_of_model(router.get, "", "oip_model", responses=_errors(UNKNOWN))
async def model_metadata(name: str, models: Models, version: str | None = None) -> ModelMetadata:
    model = (await models.require(name, version)).manifest
    return ModelMetadata(
        name=model.name,
        versions=[model.version],
        inputs=[
            TensorMetadata(
                name=field,
                datatype="BYTES",
                shape=[-1, -1] if field == model.task.choices else [-1],
            )
            for field in model.task.fields
        ],
        outputs=[
            TensorMetadata(name=output.name, datatype=output.datatype, shape=[-1] * output.dims)
            for output in outputs_of(model.task, explain=model.explains).values()
        ],
    )


INFER: Final[dict[str, Any]] = {
    "dependencies": [Depends(refuse_encodings)],
    "response_model": InferResponse,
    "response_model_exclude_none": True,
    "responses": {
        200: {
            "description": "JSON; with the binary extension, the header "
            f"{JSON_SIZE} has the number of bytes that are JSON",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        }
    }
    | _errors(
        {
            400: "the body is not JSON, or an input is empty",
            404: "no model has this name and version",
            408: "the body did not arrive in time",
            413: "the body or the batch is too large",
            415: "the body is compressed",
            422: "a tensor or a parameter is wrong, an input has too many tokens, or the model "
            "gives labels only",
            429: "too many inputs are in work; try again after retry-after seconds",
            503: "the model cannot answer now",
            504: "the answer was not ready in time",
        }
    ),
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _inlined(InferRequest.model_json_schema())},
                "application/octet-stream": {"schema": {"type": "string"}},
            },
        }
    },
}


@_of_model(router.post, "/infer", "oip_infer", **INFER)
async def infer(
    name: str,
    request: Request,
    models: Models,
    metrics: CurrentMetrics,
    settings: CurrentSettings,
    version: str | None = None,
    x_request_timeout: RequestTimeout = None,
    inference_header_content_length: Annotated[
        int | None, Header(ge=0, description="bytes of the body that are JSON; without it, all")
    ] = None,
) -> Response:
    """Predicts labels for a batch. Each field of the task is a BYTES tensor [N] or [N,1].

    A field that holds the labels to choose from is [N,K]; shorter rows end in empty texts.
    `explain`, `top_k`, `max_rationale_tokens` and `truncate` are parameters of the request. A
    request for the output `rationale` implies `explain`.
    """
    started = time.perf_counter()
    body, elements = read_request(await request.body(), inference_header_content_length)
    options, wanted = body.parameters, [output.name for output in body.outputs]
    explain = options.explain or "rationale" in wanted
    task = (await models.require(name, version)).manifest.task
    outputs = outputs_of(task, explain=explain)
    for output in wanted:
        if output not in outputs:
            raise InvalidParameter(
                f"outputs: there is no {reprlib.repr(output)}, but {', '.join(outputs)}"
            )
    inputs = inputs_of(task, body.inputs, elements)
    check_count(inputs, settings)
    requests = [
        PredictRequest(item, explain, options.top_k, options.max_rationale_tokens, options.truncate)
        for item in inputs
    ]
    places = [f"inputs[{i}]" for i in range(len(inputs))]
    predictions = await predict_all(
        request, models, name, metrics, places, requests, x_request_timeout, version
    )
    answer = InferResponse(
        model_name=name,
        model_version=predictions[0].model.version,
        id=body.id,
        outputs=[tensor_of(outputs[output], predictions) for output in wanted or outputs],
    )
    binary = [output.parameters.binary_data for output in body.outputs] or [None] * len(outputs)
    content, json_size = write_response(
        answer, [options.binary_data_output if wish is None else wish for wish in binary]
    )
    headers = timing_headers(started, predictions)
    if json_size is None:
        return Response(content, media_type="application/json", headers=headers)
    headers[JSON_SIZE] = str(json_size)
    return Response(content, media_type="application/octet-stream", headers=headers)
