"""The registry: the loaded models by name."""

import reprlib
from collections.abc import Iterator
from contextlib import ExitStack

from export.bundle import BundleError
from service.engine.engine import Engine
from service.errors import ModelNotFound
from service.settings import Settings


class Registry:
    """Models in the order that they were asked for. The first one is the default."""

    def __init__(self, engines: dict[str, Engine]) -> None:
        self._engines = engines

    @classmethod
    def load(cls, settings: Settings) -> "Registry":
        """Loads every bundle of the settings. Raises BundleError where one cannot be trusted, and
        DeviceError where there is nothing to compute it on.
        """
        engines: dict[str, Engine] = {}
        with ExitStack() as loaded:
            for folder in settings.models:
                engine = Engine.load(
                    folder,
                    device=settings.device,
                    threads=settings.threads,
                    max_rows=settings.max_rows,
                    max_queue=settings.max_queue,
                    timeout=settings.timeout,
                    speculate=settings.speculate,
                )
                loaded.callback(engine.close)
                name = engine.manifest.name
                if name in engines:
                    raise BundleError(f"{folder}: another of the bundles is named {name} too")
                engines[name] = engine
            loaded.pop_all()
        return cls(engines)

    @property
    def default(self) -> Engine:
        return next(iter(self))

    def __iter__(self) -> Iterator[Engine]:
        return iter(self._engines.values())

    def get(self, name: str | None) -> Engine:
        """The model of that name, the default one for None. Raises ModelNotFound."""
        if name is None:
            return self.default
        if name not in self._engines:
            known = ", ".join(self._engines)
            raise ModelNotFound(f"model {reprlib.repr(name)}: unknown; this service has {known}")
        return self._engines[name]

    def close(self) -> None:
        for engine in self:
            engine.close()
