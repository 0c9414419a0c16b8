"""Serves bundles over HTTP: `python -m service --help` lists every setting."""

import ipaddress
import json
import logging.config
import shlex
import signal
import socket
import sys
from typing import Any

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from export.bundle import BundleError, Manifest
from service.app import create_app
from service.engine.devices import DeviceError
from service.engine.engine import Engine
from service.engine.memory import map_large_arrays
from service.errors import LABELS_ONLY
from service.logs import log_config
from service.registry import Registry
from service.server import STOP_SIGNALS, Server, kill_at_next
from service.settings import Settings, problem_of
from tasks.command_line import from_command_line

logger = logging.getLogger("service")


def main(arguments: list[str] | None = None, prog: str = "python -m service") -> None:
    """Serves until SIGTERM or SIGINT, then exits with 0. Exits with 2 if it cannot serve."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, _exit)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    map_large_arrays()
    try:
        settings = from_command_line(Settings, arguments, prog)
        logging.config.dictConfig(log_config(settings.log_format, settings.log_level))
        listener = None if settings.check else _listener(settings)
        registry = Registry.load(settings)
    except (ValidationError, SettingsError, BundleError, DeviceError, OSError) as error:
        reason = problem_of(error) if isinstance(error, ValidationError) else str(error)
        print("duet:", " ".join(reason.split()), file=sys.stderr)
        sys.exit(2)
    if listener is None:
        where = f"{settings.host}, port {settings.port}"
        if settings.fd is not None:
            where = f"file descriptor {settings.fd}"
        print(f"Duet would serve on {where}:")
        print(*map(_summary, registry), sep="\n")
        registry.close()
        return
    address, port = listener.getsockname()[:2]
    host = settings.host if settings.fd is None else address
    if not settings.users and not _is_loopback(address):
        logger.warning(
            "anyone who reaches %s may use this service: it has no keys (DUET_API_KEYS)", host
        )
    url, model = _url(host, port), registry.default.manifest
    served = ", ".join(f"{engine.manifest.name} on {engine.device}" for engine in registry)
    print(f"Duet serves {served}. Docs: {url}/docs")
    print(f"Try it in a browser, at {url}, or in a terminal:")
    print(f"  {_curl(url, model, key=bool(settings.users))}", flush=True)
    config = uvicorn.Config(
        create_app(settings, registry),
        server_header=False,
        log_config=None,
        access_log=False,  # `service.middleware.access` has its own
        timeout_graceful_shutdown=settings.grace_period,
    )
    Server(config, registry).run(sockets=[listener])


def _exit(*_: object) -> None:
    kill_at_next(STOP_SIGNALS)
    sys.exit(0)


def _listener(settings: Settings) -> socket.socket:
    """A listening socket. Clients can connect, and wait until the models are loaded.

    Raises SettingsError.
    """
    if settings.fd is None:
        listener = _listen(settings.host, settings.port)
    else:
        listener = _inherited(settings.fd)
    # Connections inherit this option. asyncio sets it only on sockets that it opens itself. Without
    # it, an answer waits up to 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"cannot listen on {host}, port {port}: {reason}; choose others with --host "
            "(DUET_HOST) and --port (DUET_PORT)"
        ) from error


def _inherited(fd: int) -> socket.socket:
    """The listening socket that the parent process opened. Raises SettingsError."""
    expected = f"cannot listen on --fd (DUET_FD) {fd}: expected a TCP socket that listens"
    try:
        listener = socket.socket(fileno=fd)
    except OSError as error:
        raise SettingsError(f"{expected}: {error.strerror}") from error
    if listener.family not in (socket.AF_INET, socket.AF_INET6) or not listener.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        listener.detach()  # it is not ours to close
        raise SettingsError(expected)
    return listener


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _summary(engine: Engine) -> str:
    model = engine.manifest
    return (
        f"  {model.name}, version {model.version}, for the task {model.task.name}, in "
        f"{model.precision} on {engine.device}, from {engine.bundle.folder}"
        + ("" if model.explains else f"; it {LABELS_ONLY}")
    )


def _url(host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _curl(url: str, model: Manifest, *, key: bool = False) -> str:
    """A command that asks the default model about a real input of its task."""
    fields = model.task.examples[0] if model.task.examples else model.task.form()
    asked: dict[str, Any] = {"inputs": fields if len(fields) > 1 else next(iter(fields.values()))}
    if model.explains:
        asked["explain"] = True
    body = json.dumps(asked, ensure_ascii=False)
    headers = ["-H", "content-type: application/json"]
    if key:
        headers += ["-H", "x-api-key: KEY"]
    return shlex.join(["curl", f"{url}/predict", *headers, "-d", body])


if __name__ == "__main__":
    main()
