"""The service on Ray Serve: Ray starts, heals and scales replicas of the same application.

`serve deploy service/ray/app.yaml` deploys it. That file shows the settings.
"""

import asyncio
import logging
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any, Final

from fastapi import FastAPI
from pydantic import ValidationError
from ray import serve

from service.admission import MAX_QUEUE
from service.app import create_app
from service.engine.engine import Engine
from service.engine.memory import map_large_arrays
from service.errors import EngineUnavailable
from service.folders import name_bundles
from service.registry import Registry, load_engine
from service.settings import Settings, problem_of

MAX_MODELS: Final = 3  # of a replica; Ray's own default
RETRY_SECONDS: Final = 1  # a request takes less


class MultiplexedRegistry(Registry):
    """Holds at most `max_models` of the settings' models: the most recently used ones.

    A request may also name its model in Ray's header serve_multiplexed_model_id. Ray then sends it
    to a replica that has the model, if there is one.
    """

    def __init__(self, settings: Settings, max_models: int) -> None:
        """Loads the first models. Raises BundleError, DeviceError."""
        bundles = name_bundles(settings.models)
        first = islice(bundles.items(), max_models)
        super().__init__(
            {name: load_engine(folder, settings, alias) for name, (folder, alias) in first},
            settings,
        )
        self._folders = {name: offered.folder for name, offered in bundles.items()}

        async def hold(name: str) -> SimpleNamespace:
            if name not in self._loaded:
                await self.load_model(name)
            # Ray awaits __del__ when it drops the model
            return SimpleNamespace(__del__=partial(self.unload_model, name))

        self._hold = serve.multiplexed(max_num_models_per_replica=max_models)(hold)

    async def hold_loaded(self) -> None:
        """Tells Ray which models are loaded."""
        for name in list(self._loaded):
            await self._hold(name)

    async def require(self, name: str | None, version: str | None = None) -> Engine:
        """The engine of the model. Loads it in place of the least recently used one if needed.

        Raises ModelNotFound, and ModelRefused if the bundle cannot be loaded.
        """
        name = name or serve.get_multiplexed_model_id() or self.default_name
        if name in self._folders:
            await self._hold(name)
            while name not in self._loaded:  # Ray has dropped it meanwhile
                await self._hold(name)
        return self.get(name, version)


class Duet:
    """A replica of the service."""

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, settings: Settings, max_models: int
    ) -> None:
        logging.getLogger("service").setLevel(settings.log_level.upper())
        map_large_arrays()
        self._settings = settings
        self._models = await asyncio.to_thread(MultiplexedRegistry, settings, max_models)
        await self._models.hold_loaded()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._settings, self._models)

    async def check_health(self) -> None:
        """Raises EngineUnavailable if only a new replica helps, as /livez does."""
        for engine in self._models:
            if not engine.alive:
                raise EngineUnavailable(f"the engine of {engine.manifest.name} has died")


def app(arguments: dict[str, Any]) -> serve.Application:
    """The application that `serve deploy` deploys. `arguments` are settings and `max_models`.

    A replica takes at most `max_rows` + `max_queue` requests at a time. The others wait in Ray's
    proxy, so they are not lost if a replica dies. Raises ValueError.
    """
    arguments = dict(arguments)
    max_models = arguments.pop("max_models", MAX_MODELS)
    if not isinstance(max_models, int) or max_models < 1:
        raise ValueError(f"max_models: expected a whole number from 1 on, got {max_models!r}")
    try:
        settings = Settings(**arguments)
    except ValidationError as error:
        raise ValueError(problem_of(error)) from error
    if "max_queue" not in settings.model_fields_set:
        settings = settings.model_copy(update={"max_queue": settings.max_rows})
    if settings.admin:
        raise ValueError(
            "admin_keys: not possible on Ray, because only one replica would load or unload the "
            "model; deploy the new bundle in place of the old one"
        )
    return (
        serve.deployment(serve.ingress()(Duet))
        .options(
            name="Duet",
            ray_actor_options={"num_cpus": settings.threads},
            max_ongoing_requests=settings.max_rows + settings.max_queue,
            max_queued_requests=MAX_QUEUE,
            backpressure_config={"status_code": 429, "retry_after_s": RETRY_SECONDS},
            graceful_shutdown_timeout_s=settings.grace_period,
        )
        .bind(settings, max_models)
    )
