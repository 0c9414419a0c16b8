"""Clients for a running service: `Client`, and `AsyncClient` for asyncio, with the same methods.

Install the extra `client` to use them.

    with Client("http://127.0.0.1:8000") as duet:
        print(duet.predict("Ann had 3 pens and lost 1. How many are left?", explain=True).rationale)

    async with AsyncClient("http://127.0.0.1:8000") as duet:
        answers = await asyncio.gather(*[duet.predict(text) for text in texts])
"""

from duet.client.answers import (
    Answer,
    DuetError,
    Input,
    Label,
    ModelInfo,
    Options,
    Score,
    ServiceInfo,
    Usage,
)
from duet.client.asynchronous import AsyncClient
from duet.client.blocking import Client

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "DuetError",
    "Input",
    "Label",
    "ModelInfo",
    "Options",
    "Score",
    "ServiceInfo",
    "Usage",
]
