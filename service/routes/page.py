"""The page to try the models, and its files."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.staticfiles import StaticFiles


class Web(StaticFiles):
    """Files that browsers do not cache, so files of two versions never mix."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


web = Web(directory=Path(__file__).parents[1] / "web")
router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request) -> Response:
    return await web.get_response("index.html", request.scope)
