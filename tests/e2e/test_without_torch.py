"""The service, and what it shares with export, need none of the training libraries."""

import json
import pkgutil
import subprocess
import sys
from importlib.util import find_spec

import service
from tests.support.server_process import ROOT

NEEDS_AN_EXTRA = {"service.ray.cluster": "ray", "service.ray.app": "ray"}
FORBIDDEN = ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "training")

SCRIPT = """
import importlib, json, sys

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} must not be imported")

FORBIDDEN, modules = json.loads(sys.argv[1])
sys.meta_path.insert(0, Guard())
for module in modules:
    importlib.import_module(module)
"""


def test_every_module_imports() -> None:
    modules = ["duet.client", "export.bundle", "export.verify"] + [
        module.name
        for module in pkgutil.walk_packages(service.__path__, "service.")
        if find_spec(NEEDS_AN_EXTRA.get(module.name, "service"))
    ]
    assert {"service.__main__", "service.engine.onnx_runner", "service.routes.predict"} <= {
        *modules
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([FORBIDDEN, modules])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_guard_guards() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([FORBIDDEN, ["export.graphs"]])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "must not be imported" in done.stderr
