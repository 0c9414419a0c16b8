"""Serves bundles over HTTP: `python -m service --help` tells of every setting."""

import ipaddress
import json
import logging.config
import shlex
import signal
import socket
import sys

import uvicorn
from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from export.bundle import BundleError, TaskSpec
from service.app import create_app
from service.engine.devices import DeviceError
from service.logs import log_config
from service.registry import Registry
from service.settings import Settings

GRACE_SECONDS = 10  # for requests in flight, and for clients that never finish theirs

logger = logging.getLogger("service")


def main() -> None:
    """Exits with 0 after SIGTERM or SIGINT, and with 2 where there is nothing to serve."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    try:
        settings = CliApp.run(Settings)
        logging.config.dictConfig(log_config(settings.log_format, settings.log_level))
        listener = _listen(settings.host, settings.port)
        registry = Registry.load(settings)
    except (ValidationError, SettingsError, BundleError, DeviceError, OSError) as error:
        reason = _setting_problem(error) if isinstance(error, ValidationError) else error
        print(f"duet: {reason}", file=sys.stderr)
        sys.exit(2)
    if not settings.users and not _is_loopback(listener.getsockname()[0]):
        logger.warning(
            "anyone who reaches %s may use this service: it has no keys (DUET_API_KEYS)",
            settings.host,
        )
    url, engine = _url(settings.host, listener.getsockname()[1]), registry.default
    model = engine.manifest
    print(f"Duet serves {model.name} on {engine.device}. Docs: {url}/docs")
    print(f"Try it in a browser, at {url}, or in a terminal:")
    print(f"  {_curl(url, model.task, key=bool(settings.users))}", flush=True)
    config = uvicorn.Config(
        create_app(settings, registry),
        server_header=False,
        log_config=None,
        access_log=False,  # `service.access` has its own
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """From here on clients can connect, and wait for their answers until all is loaded."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"cannot listen on {host}, port {port}: {reason}; choose others with --host "
            "(DUET_HOST) and --port (DUET_PORT)"
        ) from error
    # Connections inherit it. asyncio sets it on sockets that it opens itself, and without it an
    # answer waits up to 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _setting_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    name = str(problem["loc"][0])
    flag = name.replace("_", "-")
    got = "" if name.endswith("_keys") else f", got {problem['input']!r}"
    return f"--{flag} (DUET_{name.upper()}): {problem['msg']}{got}"


def _url(host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _curl(url: str, task: TaskSpec, *, key: bool = False) -> str:
    """A command that asks the default model about a real input of its task."""
    fields = task.examples[0] if task.examples else task.form()
    inputs = fields if len(fields) > 1 else next(iter(fields.values()))
    body = json.dumps({"inputs": inputs, "explain": True}, ensure_ascii=False)
    headers = ["-H", "content-type: application/json"]
    if key:
        headers += ["-H", "x-api-key: KEY"]
    return shlex.join(["curl", f"{url}/predict", *headers, "-d", body])


if __name__ == "__main__":
    main()
