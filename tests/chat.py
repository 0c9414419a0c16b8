"""An endpoint of OpenAI's chat completions on loopback, for tests, that can misbehave."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers import TIMEOUT


@dataclass(frozen=True)
class Reply:
    """What is sent back: with `cut`, only half of what its length promises."""

    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0  # seconds
    cut: bool = False


def completion(content: str | None, model: str = "grader", **choice: Any) -> dict[str, Any]:
    """A chat completion whose one choice says `content`."""
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "finish_reason": "stop", "message": message} | choice]
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": choices,
    }


def said(content: str) -> Reply:
    return Reply(200, json.dumps(completion(content)))


Respond = Callable[[dict[str, Any], int], Reply]


@dataclass
class Chat:
    """An endpoint that answers by `respond`, of a request's body and how many came before it."""

    respond: Respond
    requests: list[dict[str, Any]] = field(default_factory=list)  # bodies, and `path`
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # monotonic, of each request's arrival
    most_at_once: int = 0
    url: str = ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *arguments: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # of a client that has given up
            super().handle_error(*arguments)


@contextmanager
def chatting(respond: Respond) -> Iterator[Chat]:
    found, lock, now = Chat(respond), threading.Lock(), set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                now.add(self)
                found.most_at_once = max(found.most_at_once, len(now))
                number = len(found.requests)
                found.requests.append(body | {"path": self.path})
                found.headers.append({k.lower(): v for k, v in self.headers.items()})
                found.times.append(time.monotonic())
            reply = found.respond(body, number)
            time.sleep(reply.delay)
            with lock:
                now.remove(self)
            content = reply.text.encode()
            self.send_response(reply.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if reply.cut else content)
            self.close_connection = reply.cut

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
        server.server_close()
