"""HAProxy, the proxy of docker-compose.yml, before replicas that a name server lists."""

import os
import shutil
import socket
import socketserver
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.support.server_process import ROOT, TIMEOUT

CONFIGURATION = ROOT / "docker" / "haproxy.cfg"
A_RECORD, IN = 1, 1


@dataclass
class Names:
    """A name server. Every name has the same addresses (RFC 1035)."""

    addresses: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5  # of the question: its name, type and class
        asked, _ = struct.unpack("!HH", query[end - 4 : end])
        records = b"".join(
            struct.pack("!HHHIH4s", 0xC00C, A_RECORD, IN, 0, 4, socket.inet_aton(address))
            for address in (self.addresses if asked == A_RECORD else [])
        )
        counts = struct.pack("!HHHH", 1, len(records) // 16, 0, 0)
        return query[:2] + b"\x85\x80" + counts + query[12:end] + records


@dataclass
class Proxy:
    process: subprocess.Popen[bytes]
    log: Path
    url: str
    metrics_url: str
    names: Names

    def wait_until(self, path: str, status: int) -> httpx.Response:
        """Requests the path until the answer has this status."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            assert self.process.poll() is None, self.log.read_text()
            response = httpx.get(self.url + path, timeout=TIMEOUT)
            if response.status_code == status:
                return response
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)


@contextmanager
def proxy(log: Path, replicas: str) -> Iterator[Proxy]:
    """HAProxy with its real configuration. `replicas` is NAME:PORT."""
    if (haproxy := shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")) is None:
        pytest.skip("needs haproxy: apt-get install haproxy")
    with name_server() as names, log.open("wb") as file:
        listen, metrics_listen = (f"127.0.0.1:{port}" for port in free_ports(2))
        settings = {
            "LISTEN": listen,
            "METRICS_LISTEN": metrics_listen,
            "REPLICAS": replicas,
            "RESOLVER": f"127.0.0.1:{names.port}",
            "INTERVAL": "50ms",
        }
        process = subprocess.Popen(
            [haproxy, "-W", "-db", "-f", str(CONFIGURATION)],
            env=os.environ | settings,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_it_listens(process, log, listen)
            yield Proxy(process, log, f"http://{listen}", f"http://{metrics_listen}/metrics", names)
        finally:
            process.terminate()
            process.wait(TIMEOUT)


@contextmanager
def name_server() -> Iterator[Names]:
    names = Names()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, reply = self.request
            reply.sendto(names.answer(query), self.client_address)

    with socketserver.UDPServer(("127.0.0.1", 0), Handler) as server:
        names.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield names
        finally:
            server.shutdown()
            thread.join(TIMEOUT)


def free_ports(count: int) -> list[int]:
    """Ports that are free at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def wait_until_it_listens(process: subprocess.Popen[bytes], log: Path, address: str) -> None:
    host, _, port = address.partition(":")
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return
