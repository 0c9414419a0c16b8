"""Duet as a peer: its engine is called directly, text in and text out."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest, Usage
from tests.benchmarks.peers import THREADS, Peer, Way
from tests.benchmarks.work import Answers, Wants, Work

MAX_ROWS = 32


class Duet(Peer):
    """Engines of one or more bundles, one for each want. Several inputs are concurrent requests."""

    def __init__(self, bundles: Mapping[Wants, Path], speculate: bool) -> None:
        engines = {
            folder: Engine.load(
                folder, device="cpu", threads=THREADS, max_rows=MAX_ROWS, speculate=speculate
            )
            for folder in set(bundles.values())
        }
        self.engines = {wants: engines[folder] for wants, folder in bundles.items()}
        self.loop = asyncio.Runner()
        self.usages: list[Usage] = []

    def ways(self, work: Work) -> dict[str, Way]:
        engine = self.engines[work.wants]
        requests = [PredictRequest(text, explain=work.wants == "both") for text in work.texts]

        async def predict() -> list[Prediction]:
            return await asyncio.gather(*map(engine.predict, requests))

        def read(predictions: list[Prediction]) -> Answers:
            self.usages += [prediction.usage for prediction in predictions]
            labels = [prediction.label for prediction in predictions]
            if work.wants == "rationale":  # this bundle's label is the other's rationale
                tokens = [prediction.usage.label_tokens for prediction in predictions]
                return Answers([], labels, tokens)
            rationales = [prediction.rationale or "" for prediction in predictions]
            if work.wants == "label":
                return Answers(labels, [], [])
            tokens = [prediction.usage.rationale_tokens for prediction in predictions]
            return Answers(labels, rationales, tokens)

        return {"predict": (lambda: self.loop.run(predict()), read)}

    def take_usages(self) -> list[Usage]:
        """The usage of the decoder since the last call, by request."""
        taken, self.usages = self.usages, []
        return taken
