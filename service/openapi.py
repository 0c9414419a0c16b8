"""Corrects and completes FastAPI's OpenAPI document."""

import json
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from service.middleware.access import REQUEST_ID
from service.routes.stream import PAYLOADS

HEADER_REFERENCE: Final = {"$ref": "#/components/headers/RequestId"}


def describe(app: FastAPI) -> None:
    """Makes the application serve the corrected document at /openapi.json."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _correct(generate())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _correct(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                _never_null(parameter["schema"])
            responses = operation["responses"]
            # FastAPI adds its own 422 to every route with a path parameter.
            if "HTTPValidationError" in json.dumps(responses.get("422", {})):
                del responses["422"]
            for response in responses.values():
                response.setdefault("headers", {})[REQUEST_ID] = HEADER_REFERENCE
    components = document["components"]
    _, events = models_json_schema(
        [(payload, "serialization") for payload in PAYLOADS.values()],
        ref_template="#/components/schemas/{model}",
    )
    components["schemas"] = events["$defs"] | components["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["headers"] = {
        "RequestId": {
            "description": "the id of the request in the log: the request's own x-request-id if it "
            "is printable and has at most 128 characters, else a new id",
            "schema": {"type": "string"},
        }
    }


def _never_null(schema: dict[str, Any]) -> None:
    """Removes null from a parameter's schema: an optional parameter is left out, never null."""
    match schema:
        case {"anyOf": [kind, {"type": "null"}]}:
            del schema["anyOf"]
            schema.update(kind)
