"""A local endpoint of OpenAI's chat completions for tests, which can misbehave."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from tests.support.server_process import TIMEOUT


@dataclass(frozen=True)
class Reply:
    """A reply. With `cut`, only that many bytes of the promised length are sent."""

    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0  # seconds, before the first byte
    trickle: float = 0  # seconds, between one byte and the next
    cut: int | None = None


def completion(content: str | None, **choice: Any) -> dict[str, Any]:
    """A chat completion whose one choice says `content`."""
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "finish_reason": "stop", "message": message} | choice]
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "grader",
        "choices": choices,
    }


def said(content: str | None, **choice: Any) -> Reply:
    return Reply(200, json.dumps(completion(content, **choice)))


Respond = Callable[[dict[str, Any], int], Reply]


@dataclass
class Chat:
    """An endpoint. `respond` gets a request's body and the number of requests before it."""

    respond: Respond
    requests: list[dict[str, Any]] = field(default_factory=list)  # bodies, and `path`
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # monotonic, of each request's arrival
    most_at_once: int = 0
    url: str = ""


AnyChat = TypeVar("AnyChat", bound=Chat)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *arguments: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # of a client that gave up
            super().handle_error(*arguments)


@contextmanager
def chatting(respond: Respond, kind: type[AnyChat] = Chat) -> Iterator[AnyChat]:
    found, lock, now = kind(respond), threading.Lock(), set[Any]()
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            if len(content := self.rfile.read(length)) < length:  # of a client that was killed
                self.close_connection = True
                return
            body = json.loads(content)
            with lock:
                now.add(self)
                found.most_at_once = max(found.most_at_once, len(now))
                number = len(found.requests)
                found.requests.append(body | {"path": self.path})
                found.headers.append({k.lower(): v for k, v in self.headers.items()})
                found.times.append(time.monotonic())
            reply = found.respond(body, number)
            closing.wait(reply.delay)
            with lock:
                now.remove(self)
            content = reply.text.encode()
            self.send_response(reply.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            sent = content[: reply.cut]
            if reply.trickle:
                for byte in sent:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    closing.wait(reply.trickle)
            else:
                self.wfile.write(sent)
            self.close_connection = len(sent) < len(content)

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # seconds, to its end
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield found
    finally:
        closing.set()
        server.shutdown()
        thread.join(TIMEOUT)
        server.server_close()
