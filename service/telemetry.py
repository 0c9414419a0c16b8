"""OpenTelemetry: traces of requests, if the standard environment variables name an endpoint."""

import importlib.metadata
import logging
import os
from typing import Final

from fastapi.telemetry import TelemetryConfig

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
EXPORTER: Final = "opentelemetry-exporter-otlp-proto-http"

logger = logging.getLogger(__name__)


def telemetry() -> TelemetryConfig:
    """FastAPI's configuration: a span for each request, with route and status, without the body.

    Logs a warning if the variables ask for traces and the exporter is not installed. Metrics are at
    /metrics only.
    """
    wanted = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if wanted is not None and not _installed():
        logger.warning("%s is set, but traces need the extra otel: pip install '.[otel]'", wanted)
        wanted = None
    if wanted is not None:
        os.environ.setdefault("OTEL_SERVICE_NAME", "duet")
    return {"auto_configure": wanted is not None, "metrics": False, "logs": False}


def _installed() -> bool:
    try:
        importlib.metadata.version(EXPORTER)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
