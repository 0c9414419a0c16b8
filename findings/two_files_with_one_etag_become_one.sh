#!/usr/bin/env bash
# huggingface_hub 0.36.2: two files of a repository whose ETags are equal become one file in the cache.
#
# The cache keeps the content of a file under the name of its ETag, and one ETag for all files of a repository. But
# HTTP's ETags tell the versions of one address apart, not the files of a server (RFC 9110, 8.8.3). A mirror that
# numbers the versions of each file, from "0" on, is within the standard. From it the second file that is asked for gets
# the content of the first one: a SentencePiece model becomes a JSON file, say. Nothing warns of it. The second file is
# not even downloaded.
#
# Expected: each file has its own content. Seen: both have the content of the first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet huggingface_hub==0.36.2
"$folder/venv/bin/python" - "$folder/cache" <<'PYTHON'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub

FILES = {"first.txt": b"the first\n", "other.txt": b"the other\n"}


class Mirror(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = FILES[self.path.rsplit("/", 1)[1]]
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
threading.Thread(target=server.serve_forever, daemon=True).start()
found = [
    Path(
        huggingface_hub.hf_hub_download(
            "some/model", name, endpoint=f"http://127.0.0.1:{server.server_port}", cache_dir=sys.argv[1]
        )
    ).read_bytes()
    for name in FILES
]
print(f"huggingface_hub {huggingface_hub.__version__}: {found}")
assert found == [FILES["first.txt"]] * 2, f"this changed: {found}"
PYTHON
