"""Headers for browsers: limit what a page may load, and forbid guessing content types."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A page may load files of this service, and nothing else.
POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Swagger's page has an inline script and inline styles.
DOCS_POLICY: Final = (
    POLICY + "; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
)


class ResponseHeaders:
    """ASGI middleware: adds a policy (CSP level 3) to pages, and `nosniff` to every answer."""

    def __init__(self, app: ASGIApp, docs_path: str) -> None:
        self.app = app
        self.docs_path = docs_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-content-type-options"] = "nosniff"
                if headers.get("content-type", "").startswith("text/html"):
                    docs = getattr(scope.get("route"), "path", None) == self.docs_path
                    headers["content-security-policy"] = DOCS_POLICY if docs else POLICY
                    headers["referrer-policy"] = "no-referrer"
            await send(message)

        return await self.app(scope, receive, send_with_headers)
