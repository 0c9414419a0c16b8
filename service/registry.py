"""The registry: models by name. It loads, replaces and unloads them while requests go on."""

import asyncio
import logging
import reprlib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from export.bundle import BundleError, Manifest
from export.verify import read_manifest
from service.admission import Admission
from service.engine.devices import DeviceError
from service.engine.engine import Engine
from service.engine.priority import run_behind
from service.errors import ModelNotFound, ModelRefused
from service.folders import check_within, find_bundles, is_alias, name_bundles
from service.settings import Settings

logger = logging.getLogger(__name__)


class ServedModel(NamedTuple):
    """A loaded model: the engine that answers its requests, and the admission that limits them."""

    engine: Engine
    admission: Admission


class ModelSource(NamedTuple):
    """A model's name, the folder that it comes from, and the loaded model, if it is loaded."""

    name: str
    folder: Path
    served: ServedModel | None


class Registry:
    """Models in the order in which they were found. The first one always stays the default.

    For one event loop. Models are loaded and unloaded one at a time, while requests go on. A
    request finishes on the engine that it began on. An old engine is closed after its last request.
    """

    def __init__(self, engines: dict[str, Engine], settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._loaded = {name: self._admitting(engine) for name, engine in engines.items()}
        self._folders = {name: engine.bundle.folder for name, engine in engines.items()}
        self._leaving: set[ServedModel] = set()
        self._changing = asyncio.Lock()

    @classmethod
    def load(cls, settings: Settings) -> "Registry":
        """A registry with all bundles of the settings.

        Raises BundleError if a bundle cannot be served, and DeviceError if the device cannot be
        used.
        """
        engines: dict[str, Engine] = {}
        with ExitStack() as loaded:
            for name, (folder, alias) in name_bundles(settings.models).items():
                engines[name] = load_engine(folder, settings, alias)
                loaded.callback(engines[name].close)
            loaded.pop_all()
        return cls(engines, settings)

    @property
    def default_name(self) -> str:
        return next(iter(self._folders))

    @property
    def default(self) -> Engine:
        return self.get(None)

    def __iter__(self) -> Iterator[Engine]:
        return (served.engine for served in self.served())

    def served(self) -> list[ServedModel]:
        """The loaded models, in their order."""
        return [self._loaded[name] for name in self._folders if name in self._loaded]

    def get(self, name: str | None, version: str | None = None) -> Engine:
        """The engine of the model `name`; None: of the default model. Raises ModelNotFound."""
        return self._get(name, version).engine

    async def require(self, name: str | None, version: str | None = None) -> Engine:
        """The same engine as `get`. A subclass may load the model first."""
        return self.get(name, version)

    def check_room(self, name: str | None) -> None:
        """Raises Overloaded if the model `name` has no room; for None, if no model has room."""
        asked = [
            served.admission
            for served in self.served()
            if name in (None, served.engine.manifest.name)
        ]
        if asked and all(admission.full for admission in asked):
            asked[0].check_room()

    @asynccontextmanager
    async def admit(
        self,
        name: str | None,
        inputs: int,
        timeout: float | None = None,
        version: str | None = None,
    ) -> AsyncIterator[Engine]:
        """Yields the engine that `require` returns, and holds places for a request.

        See `Admission.admit`. The engine is not closed before the request has left.
        """
        engine = await self.require(name, version)
        async with self._loaded[engine.manifest.name].admission.admit(inputs, timeout):
            yield engine

    async def load_model(self, name: str, folder: Path | None = None) -> Engine:
        """Loads a bundle, and serves it from now on in place of the old engine. Returns its engine.

        `folder` is the bundle's folder; by default the one that it came from last. Returns when the
        old engine is closed. Raises ModelNotFound if no bundle has the name. Raises ModelRefused if
        the bundle cannot be served; then nothing changes.
        """
        async with self._changing:
            old = self._loaded.get(name)
            try:
                engine = await asyncio.to_thread(self._load_named, name, folder)
            except ModelNotFound:
                raise
            except Exception as error:  # after any error, the old model stays
                known = isinstance(error, (ValueError, DeviceError, OSError))
                logger.error("%s was not loaded: %s", name, error, exc_info=not known)
                state = "nothing was"
                if old is not None:
                    state = f"version {old.engine.manifest.version} is still"
                raise ModelRefused(f"{error}; {state} loaded") from error
            self._loaded[name] = self._admitting(engine)
            self._folders[name] = engine.bundle.folder
            logger.info("%s, version %s, is loaded", name, engine.manifest.version)
            if old is not None:
                await self._retire(old)
        return engine

    async def unload_model(self, name: str) -> None:
        """Stops serving a model. Returns when its open requests are answered.

        Raises ModelNotFound.
        """
        async with self._changing:
            leaving = self._get(name)
            del self._loaded[name]
            await self._retire(leaving)
            logger.info("%s is unloaded", name)

    async def reload_changed(self) -> None:
        """Loads the new and the changed bundles in the settings' folders.

        If a bundle cannot be loaded, logs the reason and keeps the old model.
        """
        try:
            offers = await asyncio.to_thread(find_bundles, self._settings.models)
        except (BundleError, OSError) as error:
            logger.error("nothing is reloaded: %s", error)
            return
        for folder, alias in offers:
            try:
                manifest = await asyncio.to_thread(read_manifest, folder)
                name = alias or manifest.name
                if self._is_news(name, folder, manifest):
                    await self.load_model(name, folder)
            except (BundleError, OSError, ModelRefused) as error:
                logger.error("%s is not reloaded: %s", folder, error)

    def sources(self) -> list[ModelSource]:
        """The models, loaded or not, then those in the settings' folders that are new."""
        folders = dict(self._folders)
        with suppress(BundleError, OSError):  # a folder that is gone has nothing new
            for offered in find_bundles(self._settings.models):
                with suppress(BundleError, OSError):
                    folders.setdefault(offered.name(), offered.folder)
        return [
            ModelSource(name, folder.resolve(), self._loaded.get(name))
            for name, folder in folders.items()
        ]

    def close(self) -> None:
        for served in {*self.served(), *self._leaving}:
            served.engine.close()

    def _admitting(self, engine: Engine) -> ServedModel:
        """The engine, with places for `max_rows` inputs and for the queue."""
        places = self._settings.max_rows + self._settings.max_queue
        return ServedModel(engine, Admission(places, self._settings.timeout))

    def _get(self, name: str | None, version: str | None = None) -> ServedModel:
        name = self.default_name if name is None else name
        if name not in self._loaded:
            state = "not loaded" if name in self._folders else "unknown"
            known = ", ".join(engine.manifest.name for engine in self) or "none"
            raise ModelNotFound(f"model {reprlib.repr(name)}: {state}; this service has {known}")
        served = self._loaded[name]
        if version not in (None, served.engine.manifest.version):
            raise ModelNotFound(
                f"model {name}: has version {served.engine.manifest.version}, not "
                f"{reprlib.repr(version)}"
            )
        return served

    async def _retire(self, served: ServedModel) -> None:
        self._leaving.add(served)
        await served.admission.drained()
        await asyncio.to_thread(served.engine.close)
        self._leaving.discard(served)

    def _load_named(self, name: str, folder: Path | None) -> Engine:
        if folder is None:
            folder = self._folders.get(name) or self._find(name)
        check_within(folder, self._settings.models)
        alias = name if is_alias(name, folder, self._settings.models) else None
        engine = load_engine(folder, self._settings, alias)
        if engine.manifest.name != name:
            engine.close()
            raise BundleError(f"{folder}: named {engine.manifest.name}, not {name}")
        return engine

    def _find(self, name: str) -> Path:
        for offered in find_bundles(self._settings.models):
            with suppress(BundleError, OSError):
                if offered.name() == name:
                    return offered.folder
        raise ModelNotFound(f"model {reprlib.repr(name)}: no bundle has this name")

    def _is_news(self, name: str, folder: Path, manifest: Manifest) -> bool:
        """Whether a bundle is new or has changed. False for a model that was unloaded."""
        if name not in self._folders:
            return True
        if folder.resolve() != self._folders[name].resolve():
            logger.warning("%s is left alone: %s comes from %s", folder, name, self._folders[name])
            return False
        if name not in self._loaded:
            return False
        return self._loaded[name].engine.manifest.checksum != manifest.checksum


def load_engine(folder: Path, settings: Settings, alias: str | None = None) -> Engine:
    """The engine of a bundle, on threads of low priority. `alias` replaces the bundle's name.

    Raises BundleError, DeviceError.
    """
    load = partial(
        Engine.load,
        folder,
        alias,
        device=settings.device,
        threads=settings.threads,
        max_rows=settings.max_rows,
        speculate=settings.speculate,
    )
    return run_behind(load)
