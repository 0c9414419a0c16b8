"""A load generator: clients on keep-alive connections, each with one request at a time.

It speaks HTTP itself. A client library would take processor time from the servers that it
measures, on the same cores.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Load:
    """`seconds` until all requests were answered; latencies in seconds, and the answers."""

    seconds: float
    latencies: list[float]
    answers: list[dict[str, Any]]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


def run_load(url: str, bodies: Sequence[Any], clients: int, warmup: int, requests: int) -> Load:
    """Sends `warmup` requests, then `requests` that count, with the bodies in turn.

    Raises RuntimeError for an answer other than 200.
    """
    encoded = [_request(url, body) for body in bodies]
    return asyncio.run(_run(url, encoded, clients, warmup, requests))


async def _run(
    url: str, encoded: Sequence[bytes], clients: int, warmup: int, requests: int
) -> Load:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    connections = [await asyncio.open_connection(host, port) for _ in range(clients)]
    latencies: list[float] = []
    answers: list[bytes] = []

    async def client(
        numbers: "itertools.islice[int]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        for number in numbers:  # shared by all clients
            started = time.perf_counter()
            writer.write(encoded[number % len(encoded)])
            answers.append(await _answer(reader))
            latencies.append(time.perf_counter() - started)

    async def send(count: int) -> float:
        latencies.clear()
        answers.clear()
        numbers = itertools.islice(itertools.count(), count)
        started = time.perf_counter()
        await asyncio.gather(*(client(numbers, *connection) for connection in connections))
        return time.perf_counter() - started

    await send(warmup)
    seconds = await send(requests)
    for _, writer in connections:
        writer.close()
    return Load(seconds, latencies, [json.loads(answer) for answer in answers])


def _request(url: str, body: Any) -> bytes:
    content = json.dumps(body).encode()
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    lengths = [
        int(line.partition(":")[2])
        for line in head.split("\r\n")
        if line.startswith("content-length:")
    ]
    content = await reader.readexactly(lengths[0])
    if not head.startswith("http/1.1 200 "):
        raise RuntimeError(f"the server answered {head.splitlines()[0]}: {content.decode()}")
    return content
