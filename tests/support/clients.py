"""The asynchronous client before tests that are written for the other one."""

from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import start_blocking_portal

from duet.client import Answer, AsyncClient, Client, Input, Label

END = object()

Connect = type[Client]  # or WaitedFor, which has its methods


class Waits(list[float]):
    """The seconds that a client would have waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] = lambda: None  # called at each wait

    def wait(self, seconds: float) -> None:
        self.append(seconds)
        self.meanwhile()

    async def wait_too(self, seconds: float) -> None:
        self.wait(seconds)


class WaitedFor:
    """`AsyncClient` with the methods of `Client`: an event loop in another thread runs each."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._opened = start_blocking_portal()
        self._portal = self._opened.__enter__()
        self._client = self._portal.call(partial(AsyncClient, *arguments, **settings))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._portal.call(
            partial(method, *arguments, **options)
        )

    def stream(self, item: Input, **options: Any) -> Iterator[Label | str | Answer]:
        events = self._client.stream(item, **options)
        try:
            while (event := self._portal.call(anext, events, END)) is not END:
                yield event
        finally:
            self._portal.call(events.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._portal.call(self._client.aclose)
        self._opened.__exit__(None, None, None)
