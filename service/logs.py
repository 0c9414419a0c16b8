"""Logs: the format of a line, and the id of the request in it."""

from contextvars import ContextVar
from logging import Filter, LogRecord
from typing import Any, Literal

LogFormat = Literal["console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

request_id: ContextVar[str] = ContextVar("request_id", default="-")


class RequestId(Filter):
    """Adds the current request's id to each record."""

    def filter(self, record: LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


def log_config(form: LogFormat, level: LogLevel) -> dict[str, Any]:
    """The configuration for `logging.config.dictConfig`: lines of text or JSON, to stderr."""
    formatters = {
        "console": {
            "format": "%(asctime)s %(levelname)s [%(request_id)s] %(name)s: %(message)s",
        },
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s %(request_id)s",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "timestamp": True,
        },
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": RequestId}},
        "formatters": {form: formatters[form]},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": form,
                "filters": ["request_id"],
            }
        },
        "root": {"handlers": ["stderr"], "level": level.upper()},
    }
