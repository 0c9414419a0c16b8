"""A service that serves a bundle during an evaluation."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from training.evaluation.model import ModelError
from training.evaluation.remote import RemoteModel

TIMEOUT = 3600  # seconds for a request: long, as a slow machine is no error
STOP = 10  # seconds that the service has to stop
KEPT_SETTINGS = ("DUET_DEVICE", "DUET_THREADS")  # those that do not change an answer's meaning
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


@contextmanager
def served(bundle: Path, log: Path) -> Iterator[RemoteModel]:
    """The model of a bundle, while a service of its own runs on a free port of this machine.

    The service logs to the file `log`. Raises ModelError where it does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = _start(bundle, log, listener.fileno())
    # From here on only the service holds the socket: when it ends, connections to it end too.
    try:
        with closing(_connect(url, process, bundle, log)) as model:
            yield replace(model, identity=model.identity | {"kind": "bundle"})
    finally:
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(bundle: Path, log: Path, fd: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "service", "--models", str(bundle)]
    command += ["--fd", str(fd), "--timeout", str(TIMEOUT)]
    libc = ctypes.CDLL(None)
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=[fd],
            # the service must end with this process, even after SIGKILL
            preexec_fn=lambda: libc.prctl(DIE_WITH_PARENT, signal.SIGTERM),
        )


def _connect(url: str, process: subprocess.Popen[bytes], bundle: Path, log: Path) -> RemoteModel:
    """Waits until the service has loaded the bundle, or has ended."""
    try:
        return RemoteModel.connect(url, timeout=None)
    except ModelError as error:
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            raise error from None
        said = log.read_text(encoding="utf-8", errors="replace").strip()
        reason = said.rpartition("\n")[2].removeprefix("duet: ") or "it said nothing"
        raise ModelError(f"{bundle}: cannot be served: {reason}") from error


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DUET_") or name in KEPT_SETTINGS
    }
