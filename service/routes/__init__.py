"""The routes: HTTP in, the engine's door, HTTP out."""

from typing import Annotated

from fastapi import Depends, Request

from service.registry import Registry
from service.settings import Settings


async def _models(request: Request) -> Registry:
    models: Registry = request.app.state.models
    return models


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


Models = Annotated[Registry, Depends(_models)]
CurrentSettings = Annotated[Settings, Depends(_settings)]
