"""The server process: stops on SIGTERM and SIGINT, and loads new bundles on SIGHUP."""

import asyncio
import gc
import signal
from collections.abc import Sequence
from socket import socket
from types import FrameType

import uvicorn

from service.registry import Registry

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Server(uvicorn.Server):
    """At the first stop signal, lets open requests finish. A second signal ends it at once.

    At SIGHUP, the registry loads the changed bundles.
    """

    def __init__(self, config: uvicorn.Config, registry: Registry) -> None:
        super().__init__(config)
        self._registry = registry
        self._reloads: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        # Objects that exist now stay. Under overload, the garbage collector needed more time for
        # them than the requests needed.
        gc.collect()
        gc.freeze()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        kill_at_next(STOP_SIGNALS)

    def _reload(self) -> None:
        reload = asyncio.create_task(self._registry.reload_changed())
        self._reloads.add(reload)
        reload.add_done_callback(self._reloads.discard)


def kill_at_next(signals: Sequence[signal.Signals]) -> None:
    for signum in signals:
        signal.signal(signum, signal.SIG_DFL)
