"""A judge of rationales, for tests: an endpoint of chat completions."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers import TIMEOUT

Reply = tuple[int, str]


def said(content: str) -> Reply:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    completion = {"id": "1", "object": "chat.completion", "created": 0, "model": "grader"}
    return 200, json.dumps(completion | {"choices": [choice]})


@dataclass
class Judge:
    """An endpoint that answers by `reply`, of a request's body and how many came before it."""

    reply: Callable[[dict[str, Any], int], Reply]
    requests: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""

    def asked(self) -> list[str]:
        """The rationales that were asked about."""
        return [
            body["messages"][1]["content"].split("<reasoning>\n")[1].split("\n</reasoning>")[0]
            for body in self.requests
        ]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # of a client that has given up
            super().handle_error(*arguments)


@contextmanager
def judging(reply: Callable[[dict[str, Any], int], Reply]) -> Iterator[Judge]:
    found, lock, now = Judge(reply), threading.Lock(), set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                now.add(self)
                found.most_at_once = max(found.most_at_once, len(now))
                number = len(found.requests)
                found.requests.append(body | {"path": self.path})
            status, text = found.reply(body, number)
            with lock:
                now.remove(self)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text.encode())))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
        server.server_close()
