import json
import re

import pytest

from service import contract
from service.app import create_app
from service.registry import Registry
from service.settings import Settings
from tests.support.server_process import ROOT

COMMITTED = json.loads((ROOT / "service" / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = [
    (path, method, operation)
    for path, operations in COMMITTED["paths"].items()
    for method, operation in operations.items()
]


def test_the_committed_document_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    contract.main()
    assert json.loads(capsys.readouterr().out) == COMMITTED, "make openapi writes it anew"


def test_every_error_has_the_one_shape() -> None:
    for path, method, operation in OPERATIONS:
        assert "500" in operation["responses"], (path, method)
        for status, response in operation["responses"].items():
            assert "x-request-id" in response["headers"], (path, method, status)
            if status != "200":
                schema = response["content"]["application/json"]["schema"]
                name = "InferenceErrorBody" if path.startswith("/v2") else "ErrorBody"
                assert schema == {"$ref": f"#/components/schemas/{name}"}
    assert (
        not {"HTTPValidationError", "ValidationError"} & COMMITTED["components"]["schemas"].keys()
    )


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for *_, operation in OPERATIONS]
    assert sorted(names) == sorted(
        [
            *("predict", "list_models", "show_model", "info", "metrics", "live", "ready", "health"),
            *("list_sources", "load_model", "unload_model", "oip_live", "oip_ready", "oip_server"),
            *(
                f"oip_{name}{suffix}"
                for name in ("model", "model_ready", "infer")
                for suffix in ("", "_of_version")
            ),
        ]
    )


def test_every_event_of_a_stream_is_described() -> None:
    response = COMMITTED["paths"]["/predict"]["post"]["responses"]["200"]
    events = response["content"]["text/event-stream"]["itemSchema"]["oneOf"]
    described = {
        event["properties"]["event"]["const"]: event["properties"]["data"]["contentSchema"]["$ref"]
        for event in events
    }
    assert described.keys() == {"label", "rationale", "done", "error"}
    for reference in described.values():
        assert reference.rpartition("/")[2] in COMMITTED["components"]["schemas"]


def test_every_reference_leads_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(COMMITTED))):
        found = COMMITTED
        for part in reference.split("/"):
            found = found[part]


def test_a_path_that_cannot_be_wrong_has_no_422() -> None:
    assert "422" not in COMMITTED["paths"]["/models/{name}"]["get"]["responses"]
    assert "422" in COMMITTED["paths"]["/predict"]["post"]["responses"]


def test_optional_headers_are_never_null() -> None:
    (timeout,) = (
        parameter["schema"]
        for parameter in COMMITTED["paths"]["/predict"]["post"]["parameters"]
        if parameter["name"] == "x-request-timeout"
    )
    assert (timeout["type"], timeout["exclusiveMinimum"]) == ("number", 0)


def test_a_limit_of_each_key_is_told_of() -> None:
    settings = Settings(api_keys="key", max_requests_per_key=1)
    responses = create_app(settings, Registry({})).openapi()["paths"]["/info"]["get"]["responses"]
    assert "Retry-After" in responses["429"]["headers"]
