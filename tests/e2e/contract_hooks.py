"""What Schemathesis sends otherwise, so that its requests find a model and are answered."""

from typing import Any, Final

import schemathesis
from schemathesis import Case, HookContext

# The least that a parameter may be stands in nearly all requests that go through the bounds of the
# others. This stands for it instead; None: nothing.
LEAST: Final = ("", "0", "5e-324")
INSTEAD: Final = {
    "name": "tiny",
    "version": "1",
    "x-request-timeout": "30",
    "inference-header-content-length": None,
}


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    for parameters in (case.path_parameters, case.query, case.headers):
        for name, value in INSTEAD.items():
            if parameters.get(name) in LEAST:
                del parameters[name]
                if value is not None:
                    parameters[name] = value
    if case.path.endswith("/unload") and case.path_parameters.get("name") == "tiny":
        case.path_parameters["name"] = "spare"
