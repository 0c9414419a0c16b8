"""The page to try the models on, and the files that it is made of."""

from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.staticfiles import StaticFiles

HEADERS: Final = {
    # The page has no inline script or style, and asks nothing of other hosts.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",  # else files of two versions could meet in a browser
}


class Web(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


web = Web(directory=Path(__file__).parents[1] / "web")
router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    return await web.get_response("index.html", request.scope)
