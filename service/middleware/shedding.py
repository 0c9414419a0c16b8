"""Overload: refuses requests before any other work if there is no room."""

from collections.abc import Sequence

from fastapi import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Overloaded, answer_of
from service.registry import Registry


class Shedding:
    """ASGI middleware: refuses requests for predictions with 429 while there is no room at all.

    It looks only at the path, and reads neither keys nor body. A refusal takes half as long here as
    in the route. Under overload, ten requests may be refused for each that is answered.

    `routes` are the routes for predictions; only POST counts.
    """

    def __init__(self, app: ASGIApp, models: Registry, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self.models = models
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            for route in self.routes:
                match, found = route.matches(scope)
                if match is not Match.FULL:
                    continue
                try:
                    self.models.check_room(found["path_params"].get("name"))
                except Overloaded as error:
                    scope["route"] = route
                    return await answer_of(Request(scope), error)(scope, receive, send)
        return await self.app(scope, receive, send)
