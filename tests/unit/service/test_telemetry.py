import importlib.metadata
import logging
import os

import pytest

from service.telemetry import EXPORTER, telemetry

QUIET = {"metrics": False, "logs": False}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "")  # so that it is restored
    monkeypatch.delenv("OTEL_SERVICE_NAME")


def test_without_the_variables_nothing_is_sent() -> None:
    assert telemetry() == {"auto_configure": False, **QUIET}
    assert "OTEL_SERVICE_NAME" not in os.environ


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
)
@pytest.mark.parametrize("service", [None, "labels"])
def test_the_variables_switch_it_on(
    name: str, service: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:4318")
    if service:
        monkeypatch.setenv("OTEL_SERVICE_NAME", service)
    assert telemetry() == {"auto_configure": True, **QUIET}
    assert os.environ["OTEL_SERVICE_NAME"] == (service or "duet")


def test_where_the_extra_is_missing_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    version = importlib.metadata.version

    def without_exporter(name: str) -> str:
        if name == EXPORTER:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_exporter)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert telemetry() == {"auto_configure": False, **QUIET}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces need the extra otel: pip install '.[otel]'"
    )
