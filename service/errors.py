"""The errors of requests, and the body that they all have in answers: `ErrorBody`."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from service.logs import request_id
from tasks.json_errors import why_unreadable

MAX_MESSAGE_CHARACTERS = 1000
LABELS_ONLY = "was trained without rationales, so it gives labels only"  # of a model
INTERNAL = "an error inside the service; its log says more"
INFERENCE_PROTOCOL = "/v2"  # the prefix of the Open Inference Protocol's paths
HTTP_ERROR_TYPES = {  # for errors that the framework raises
    400: "invalid_json",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    415: "unsupported_media_type",
    499: "client_closed_request",
}

HEADERS = {  # by status, for OpenAPI
    401: {"WWW-Authenticate": {"schema": {"const": "Bearer"}}},
    429: {
        "Retry-After": {"description": "in seconds", "schema": {"type": "integer", "minimum": 1}}
    },
}


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: str = Field(
        description="what was wrong, and what was expected",
        examples=["inputs: 2048 tokens, but svamp-numbers takes at most 512"],
    )
    error_type: str = Field(
        description="the kind of error, for programs", examples=["too_many_tokens"]
    )


class InferenceErrorBody(BaseModel):
    """The body of an error below /v2, as the Open Inference Protocol defines it."""

    error: str


class ServiceError(Exception):
    """A request that cannot be served. The message is meant for the client."""

    status: ClassVar[HTTPStatus]
    error_type: ClassVar[str]
    headers: Mapping[str, str] = {}


class InputError(ServiceError):
    """Something is wrong with an input."""


class EmptyInput(InputError):
    status = HTTPStatus.BAD_REQUEST
    error_type = "empty_input"


class InvalidJson(ServiceError):
    status = HTTPStatus.BAD_REQUEST
    error_type = "invalid_json"


class InvalidInput(InputError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error_type = "validation"


class TooManyTokens(InputError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error_type = "too_many_tokens"


class InvalidParameter(ServiceError):
    """Something is wrong with a request besides its inputs."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error_type = "validation"


class TooManyInputs(ServiceError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    error_type = "too_many_inputs"


class Unauthenticated(ServiceError):
    status = HTTPStatus.UNAUTHORIZED
    error_type = "unauthenticated"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers = {"WWW-Authenticate": "Bearer"}


class Forbidden(ServiceError):
    status = HTTPStatus.FORBIDDEN
    error_type = "forbidden"


class ModelNotFound(ServiceError):
    status = HTTPStatus.NOT_FOUND
    error_type = "model_not_found"


class ModelRefused(ServiceError):
    """A bundle that cannot be served."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error_type = "model_refused"


class Overloaded(ServiceError):
    """There is no room now. The client should try again after `retry_after` seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    error_type = "overloaded"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after)}


class InternalError(ServiceError):
    """Something went wrong with one request, in the service itself."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    error_type = "internal"


class EngineUnavailable(ServiceError):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    error_type = "unavailable"


class DeadlineExceeded(ServiceError):
    status = HTTPStatus.GATEWAY_TIMEOUT
    error_type = "deadline_exceeded"


def responses(
    errors: Mapping[int, str], body: type[BaseModel] = ErrorBody
) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI responses for a route's errors. `errors` has a description for each status."""
    return {
        status: {"model": body, "description": description}
        | ({"headers": HEADERS[status]} if status in HEADERS else {})
        for status, description in errors.items()
    }


def body_of(error: Exception) -> ErrorBody:
    """The body for an error. It says nothing of the service's internals."""
    if isinstance(error, ServiceError):
        return _body(error.error_type, str(error))
    return _body(InternalError.error_type, INTERNAL)


def answer_of(request: Request, error: ServiceError) -> JSONResponse:
    return _answer(request, error.status, error.error_type, str(error), error.headers)


def install_handlers(app: FastAPI) -> None:
    """Gives every error of `app`, also the framework's own, the shape of `ErrorBody`."""

    @app.exception_handler(ServiceError)
    async def service_error(request: Request, error: ServiceError) -> JSONResponse:
        return answer_of(request, error)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        if problem["type"] == "json_invalid":
            reason = f"{problem['ctx']['error']} at character {problem['loc'][-1]}"
            return _answer(request, 400, "invalid_json", f"the body is not JSON: {reason}")
        field = ".".join(map(str, problem["loc"][1:])) or "body"
        return _answer(request, 422, "validation", f"{field}: {problem['msg']}")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400 and error.__cause__:  # the body could not be parsed
            message = f"the body is not JSON: {why_unreadable(error.__cause__)}"
        elif error.status_code in (404, 405):
            message = f"{request.method} {request.url.path}: {error.detail}; see /docs"
        else:
            message = error.detail
        error_type = HTTP_ERROR_TYPES.get(error.status_code, "http")
        return _answer(request, error.status_code, error_type, message, error.headers)

    @app.exception_handler(Exception)
    async def internal_error(request: Request, _: Exception) -> JSONResponse:
        # the server logs it: starlette raises it again, past the middleware that adds the id
        headers = {"x-request-id": request_id.get()}
        return _answer(request, 500, InternalError.error_type, INTERNAL, headers)


def _answer(
    request: Request,
    status: int,
    error_type: str,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    request.state.error_type = error_type
    content = _body(error_type, message).model_dump()
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    if f"{path}/".startswith(f"{INFERENCE_PROTOCOL}/"):
        content = InferenceErrorBody.model_validate(content).model_dump()
    return JSONResponse(content, status, headers)


def _body(error_type: str, message: str) -> ErrorBody:
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[:MAX_MESSAGE_CHARACTERS] + "…"
    # a message may quote the request, and JSON's \ud800 becomes a lone surrogate
    message = message.encode("utf-8", "backslashreplace").decode()
    return ErrorBody(error=message, error_type=error_type)
