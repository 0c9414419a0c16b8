"""Duet's inference service: serves bundles over HTTP."""

import os

__version__ = "0.1.0"

# Else onnxruntime writes an id of this machine to the user's cache, and reports to its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
