"""A Hugging Face hub on a port of this machine, with one model in a folder."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def fake_hub(name: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields the hub's address, and the paths that were asked for, in order."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            asked.append(path)
            content = _content(path)
            self.send_response(404 if content is None else 200)
            if content is None:
                missing = path.startswith((f"{name}/resolve", f"api/models/{name}/"))
                self.send_header("X-Error-Code", "EntryNotFound" if missing else "RepoNotFound")
            # the client keeps files by this name
            self.send_header("ETag", f'"{hashlib.sha1(content or b"").hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if body:
                self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    def _content(path: str) -> bytes | None:
        if path == f"api/models/{name}":
            return json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode()
        for place in ("main", COMMIT):
            file = folder / path.removeprefix(f"{name}/resolve/{place}/")
            if path.startswith(f"{name}/resolve/{place}/") and file.is_file():
                return file.read_bytes()
        return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
