"""An image's health check: exits with 0 if the service in this container is ready.

It asks `/readyz`. It needs no shell and only Python's standard library.
"""

import http.client
import json
import os
import sys

SECONDS = 4  # less than the check's own timeout


def main() -> None:
    host = os.environ.get("DUET_HOST", "127.0.0.1")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    connection = http.client.HTTPConnection(
        host, int(os.environ.get("DUET_PORT", "8000")), timeout=SECONDS
    )
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            sys.exit(f"not ready: {json.load(answer)['error']}")
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"no answer: {error}")


if __name__ == "__main__":
    main()
