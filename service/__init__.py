"""Duet's inference service: a bundle in, HTTP out."""

import os

__version__ = "0.1.0"

# Otherwise onnxruntime writes an id of this machine to its user's cache, and reports to its makers.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
