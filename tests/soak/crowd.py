"""A caller that speaks HTTP itself.

A client library would take as much processor time for a request as the service takes for a refusal,
and both run on the same cores.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httptools

from tests.soak.caller import CONNECTIONS, KEEP_ALIVE, Answer, Caller, Tally
from tests.soak.traffic import Case


class Connection(asyncio.Protocol):
    """Takes one request at a time."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.used = time.perf_counter()
        self.answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        self.headers: dict[str, str] = {}
        self.content = b""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.content += body

    def on_message_complete(self) -> None:
        self.used = time.perf_counter()
        assert self.answer is not None
        self.answer.set_result((self.parser.get_status_code(), self.headers, self.content))

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error or ConnectionError("the service hung up"))


class Crowd(Caller):
    """A caller that waits for a connection while all are in use."""

    def __init__(self, url: str) -> None:
        self.url = urlsplit(url)
        self.tally = Tally()
        self.free: deque[Connection] = deque()
        self.room = asyncio.Semaphore(CONNECTIONS)

    async def send(self, case: Case) -> Answer:
        async with self.room:
            connection = await self._connection()
            answer = await connection.send(self._encoded(case))
            self.free.append(connection)
            return answer

    async def _connection(self) -> Connection:
        while self.free:
            connection = self.free.pop()
            idle = time.perf_counter() - connection.used
            if idle < KEEP_ALIVE and not connection.transport.is_closing():
                return connection
            connection.transport.close()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self.url.hostname, self.url.port)
        return connection

    def _encoded(self, case: Case) -> bytes:
        headers = {"host": self.url.netloc, "content-length": str(len(case.body or b""))}
        lines = [f"{name}: {value}" for name, value in (headers | case.headers).items()]
        head = "\r\n".join([f"{case.method} {case.path} HTTP/1.1", *lines, "", ""])
        return head.encode() + (case.body or b"")


@asynccontextmanager
async def gather_crowd(url: str) -> AsyncIterator[Crowd]:
    crowd = Crowd(url)
    try:
        yield crowd
    finally:
        for connection in crowd.free:
            connection.transport.close()
