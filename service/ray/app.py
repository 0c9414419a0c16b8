"""The service on Ray Serve: replicas of the same application, which Ray starts, heals and scales.

`serve deploy service/ray/app.yaml` deploys it; that file tells what can be set.
"""

import asyncio
import logging
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from fastapi import FastAPI
from pydantic import ValidationError
from ray import serve

from export.bundle import BundleError
from export.verify import read_manifest
from service.admission import MAX_QUEUE
from service.app import create_app
from service.engine.engine import Engine
from service.engine.memory import map_large_arrays
from service.errors import EngineUnavailable
from service.folders import find_bundles
from service.registry import Registry, load_engine
from service.settings import Settings, problem_of

MAX_MODELS: Final = 3  # of a replica, as Ray has it
RETRY_SECONDS: Final = 1  # a request takes less


class MultiplexedRegistry(Registry):
    """At most `max_models` of the settings' models: those that were asked for last.

    A request may name its model in Ray's header, serve_multiplexed_model_id, too, and is then sent
    to a replica that has the model, if there is one.
    """

    def __init__(self, settings: Settings, max_models: int) -> None:
        """Loads the first models. Raises BundleError, DeviceError."""
        folders: dict[str, Path] = {}
        for folder in find_bundles(settings.models):
            name = read_manifest(folder).name
            if name in folders:
                raise BundleError(f"{folder}: named {name}, as the bundle in {folders[name]} is")
            folders[name] = folder
        first = islice(folders.items(), max_models)
        super().__init__({name: load_engine(folder, settings) for name, folder in first}, settings)
        self._folders = folders

        async def hold(name: str) -> SimpleNamespace:
            if name not in self._loaded:
                await self.load_model(name)
            # Ray awaits it when the model has to make room
            return SimpleNamespace(__del__=partial(self.unload_model, name))

        self._hold = serve.multiplexed(max_num_models_per_replica=max_models)(hold)

    async def hold_loaded(self) -> None:
        """Tells Ray of the models that are loaded."""
        for name in list(self._loaded):
            await self._hold(name)

    async def require(self, name: str | None, version: str | None = None) -> Engine:
        """Loads the model if it is not, in the place of the one that was asked for longest ago.

        Raises ModelNotFound, and ModelRefused where its bundle cannot be loaded.
        """
        name = name or serve.get_multiplexed_model_id() or self.default_name
        if name in self._folders:
            await self._hold(name)
            while name not in self._loaded:  # it had to make room meanwhile
                await self._hold(name)
        return self.get(name, version)


class Duet:
    """A replica."""

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
        """Raises EngineUnavailable where only a new replica helps, as /livez does."""
        for engine in self._models:
            if not engine.alive:
                raise EngineUnavailable(f"the engine of {engine.manifest.name} has died")


def app(arguments: dict[str, Any]) -> serve.Application:
    """What `serve deploy` deploys. `arguments` are settings by their names, and `max_models`.

    A replica takes as many requests at a time as its engine has slots and places in its queue; the
    others wait in Ray's proxy, where the death of a replica does not reach them. Raises ValueError.
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
            "admin_keys: on Ray there are none, for a replica alone would load or unload; deploy "
            "the new bundle in place of the old one"
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
