import json
import logging
import logging.config
from collections.abc import Iterator

import pytest

from service.logs import LogFormat, log_config, request_id


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> list[str]:
    logging.config.dictConfig(log_config(form, "info"))
    logger = logging.getLogger("service.test")
    token = request_id.set("trace-1")
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("it %s", "failed\nbadly", extra={"status": 500})
    finally:
        request_id.reset(token)
    logger.debug("too quiet")
    logger.info("no request")
    return capsys.readouterr().err.splitlines()


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    failed, other = map(json.loads, logged("json", capsys))
    assert failed["level"] == "ERROR"
    assert failed["logger"] == "service.test"
    assert failed["message"] == "it failed\nbadly"
    assert failed["request_id"] == "trace-1"
    assert failed["status"] == 500
    assert "ValueError: why" in failed["exc_info"]
    assert failed["timestamp"] <= other["timestamp"]
    assert (other["message"], other["request_id"]) == ("no request", "-")


def test_console_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    lines = logged("console", capsys)
    assert "ERROR [trace-1] service.test: it failed" in lines[0]
    assert "ValueError: why" in lines
    assert lines[-1].endswith("INFO [-] service.test: no request")
