"""The routes of the service's own protocol."""

from typing import Annotated

from fastapi import Depends, Request

from service.metrics import Metrics
from service.registry import Registry
from service.settings import Settings


async def _models(request: Request) -> Registry:
    models: Registry = request.app.state.models
    return models


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


CurrentMetrics = Annotated[Metrics, Depends(_metrics)]
Models = Annotated[Registry, Depends(_models)]
CurrentSettings = Annotated[Settings, Depends(_settings)]
