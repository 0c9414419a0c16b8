"""Turns a distilled checkpoint into a bundle that the service can load."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # see service/__init__.py
