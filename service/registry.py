"""The registry: the models by name, and how they come, are replaced, and go."""

import asyncio
import logging
import reprlib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from export.bundle import BundleError, Manifest
from export.verify import read_manifest
from service.engine.devices import DeviceError
from service.engine.engine import Engine
from service.engine.priority import run_behind
from service.errors import ModelNotFound, ModelRefused
from service.folders import check_within, find_bundles
from service.settings import Settings

logger = logging.getLogger(__name__)


class Registry:
    """Models in the order in which they were found. The first one is the default, for good.

    For one event loop. Models come and go one after the other, while requests go on: those in work
    finish on the engine that they began on, and it is closed after the last of them.
    """

    def __init__(self, engines: dict[str, Engine], settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._engines = engines  # those that are loaded
        self._folders = {name: engine.bundle.folder for name, engine in engines.items()}
        self._leaving: set[Engine] = set()
        self._changing = asyncio.Lock()

    @classmethod
    def load(cls, settings: Settings) -> "Registry":
        """Loads every bundle of the settings. Raises BundleError where one cannot be trusted, and
        DeviceError where there is nothing to compute it on.
        """
        engines: dict[str, Engine] = {}
        with ExitStack() as loaded:
            for folder in find_bundles(settings.models):
                engine = load_engine(folder, settings)
                loaded.callback(engine.close)
                name = engine.manifest.name
                if name in engines:
                    raise BundleError(
                        f"{folder}: named {name}, as the bundle in {engines[name].bundle.folder} is"
                    )
                engines[name] = engine
            loaded.pop_all()
        return cls(engines, settings)

    @property
    def default_name(self) -> str:
        return next(iter(self._folders))

    @property
    def default(self) -> Engine:
        return self.get(None)

    def __iter__(self) -> Iterator[Engine]:
        return iter([self._engines[name] for name in self._folders if name in self._engines])

    def get(self, name: str | None, version: str | None = None) -> Engine:
        """The model of that name, the default one for None. Raises ModelNotFound."""
        name = self.default_name if name is None else name
        if name not in self._engines:
            state = "not loaded" if name in self._folders else "unknown"
            known = ", ".join(engine.manifest.name for engine in self) or "none"
            raise ModelNotFound(f"model {reprlib.repr(name)}: {state}; this service has {known}")
        engine = self._engines[name]
        if version not in (None, engine.manifest.version):
            raise ModelNotFound(
                f"model {name}: has version {engine.manifest.version}, not {reprlib.repr(version)}"
            )
        return engine

    async def require(self, name: str | None, version: str | None = None) -> Engine:
        """As `get`. A registry that loads models when they are asked for loads it before."""
        return self.get(name, version)

    def check_room(self, name: str | None) -> None:
        """Raises Overloaded where the model of that name has no room; for None, where none has."""
        engines = [engine for engine in self if name in (None, engine.manifest.name)]
        if engines and all(engine.admission.full for engine in engines):
            engines[0].admission.check_room()

    @asynccontextmanager
    async def admit(
        self,
        name: str | None,
        inputs: int,
        timeout: float | None = None,
        version: str | None = None,
    ) -> AsyncIterator[Engine]:
        """A model as by `require`, with places for a request as by `Admission.admit`.

        It is not closed before the request has left.
        """
        engine = await self.require(name, version)
        async with engine.admission.admit(inputs, timeout):
            yield engine

    async def load_model(self, name: str, folder: Path | None = None) -> Engine:
        """Reads a bundle anew, or for the first time, and has it answer from then on.

        It comes from `folder`, by default from where it came last. Returns when the engine that it
        replaces is closed. Raises ModelNotFound where no bundle has the name, and ModelRefused,
        with everything as it was, where anything is wrong with the bundle.
        """
        async with self._changing:
            old = self._engines.get(name)
            try:
                engine = await asyncio.to_thread(self._load_named, name, folder)
            except ModelNotFound:
                raise
            except Exception as error:  # whatever it was, what is loaded stays
                known = isinstance(error, (ValueError, DeviceError, OSError))
                logger.error("%s was not loaded: %s", name, error, exc_info=not known)
                state = "nothing was" if old is None else f"version {old.manifest.version} is still"
                raise ModelRefused(f"{error}; {state} loaded") from error
            self._engines[name] = engine
            self._folders[name] = engine.bundle.folder
            logger.info("%s, version %s, is loaded", name, engine.manifest.version)
            if old is not None:
                await self._retire(old)
        return engine

    async def unload_model(self, name: str) -> None:
        """Returns when its requests have been answered. Raises ModelNotFound."""
        async with self._changing:
            engine = self.get(name)
            del self._engines[name]
            await self._retire(engine)
            logger.info("%s is unloaded", name)

    async def reload_changed(self) -> None:
        """Loads the bundles that were changed where they lie, and those that are new.

        What cannot be loaded is logged, and what is loaded under its name stays.
        """
        try:
            folders = await asyncio.to_thread(find_bundles, self._settings.models)
        except (BundleError, OSError) as error:
            logger.error("nothing is reloaded: %s", error)
            return
        for folder in folders:
            try:
                manifest = await asyncio.to_thread(read_manifest, folder)
                if self._is_news(folder, manifest):
                    await self.load_model(manifest.name, folder)
            except (BundleError, OSError, ModelRefused) as error:
                logger.error("%s is not reloaded: %s", folder, error)

    def close(self) -> None:
        for engine in {*self, *self._leaving}:
            engine.close()

    async def _retire(self, engine: Engine) -> None:
        self._leaving.add(engine)
        await engine.admission.drained()
        await asyncio.to_thread(engine.close)
        self._leaving.discard(engine)

    def _load_named(self, name: str, folder: Path | None) -> Engine:
        if folder is None:
            folder = self._folders.get(name) or self._find(name)
        check_within(folder, self._settings.models)
        engine = load_engine(folder, self._settings)
        if engine.manifest.name != name:
            engine.close()
            raise BundleError(f"{folder}: named {engine.manifest.name}, not {name}")
        return engine

    def _find(self, name: str) -> Path:
        for folder in find_bundles(self._settings.models):
            with suppress(BundleError, OSError):
                if read_manifest(folder).name == name:
                    return folder
        raise ModelNotFound(f"model {reprlib.repr(name)}: no bundle has this name")

    def _is_news(self, folder: Path, manifest: Manifest) -> bool:
        """Whether a bundle is new, or was changed since it was loaded. Unloaded ones stay so."""
        name = manifest.name
        if name not in self._folders:
            return True
        if folder.resolve() != self._folders[name].resolve():
            logger.warning("%s is left alone: %s comes from %s", folder, name, self._folders[name])
            return False
        return name in self._engines and self._engines[name].manifest != manifest


def load_engine(folder: Path, settings: Settings) -> Engine:
    """Raises BundleError, DeviceError."""
    load = partial(
        Engine.load,
        folder,
        device=settings.device,
        threads=settings.threads,
        max_rows=settings.max_rows,
        max_queue=settings.max_queue,
        timeout=settings.timeout,
        speculate=settings.speculate,
    )
    return run_behind(load)
