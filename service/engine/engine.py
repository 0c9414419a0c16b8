"""The engine's one door: `await engine.predict(request)`."""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from export.bundle import GOLDEN, Bundle, BundleError, read
from service.engine.runner import Runner
from service.engine.scheduler import Job, Scheduler, Sequence
from service.engine.text import TextProcessor, evaluate_equation
from service.errors import ServiceError


@dataclass(frozen=True)
class PredictRequest:
    """An input as the task's fields, or as a string where the task has one field."""

    input: str | Mapping[str, str]
    explain: bool = False


@dataclass(frozen=True)
class Score:
    label: str
    score: float


@dataclass(frozen=True)
class Usage:
    """Tokens, the end tokens included, and steps of the decoder."""

    input_tokens: int
    label_tokens: int
    rationale_tokens: int
    decoder_steps: int


@dataclass(frozen=True)
class Timings:
    """Seconds that a request spent in each stage."""

    tokenization: float
    queue: float
    inference: float


@dataclass(frozen=True)
class Prediction:
    label: str
    confidence: float
    answer: float | None
    rationale: str | None
    scores: tuple[Score, ...]
    decoder_passes: int
    usage: Usage
    timings: Timings


class Engine:
    """A bundle's student, ready to answer. `close` it in the end."""

    def __init__(self, bundle: Bundle, *, threads: int, max_rows: int) -> None:
        self.manifest = bundle.manifest
        self._text = TextProcessor(bundle)
        model = bundle.manifest.model
        self._scheduler = Scheduler(
            Runner(bundle, threads),
            max_rows=max_rows,
            start_id=model.decoder_start_id,
            eos_id=model.eos_id,
        )

    @classmethod
    def load(cls, folder: Path, *, threads: int, max_rows: int) -> "Engine":
        """Starts the engine of a bundle that is whole and gives what it says it gives.

        Raises BundleError, naming the file and the reason. Not for a thread with an event loop.
        """
        bundle = read(folder)
        engine = cls(bundle, threads=threads, max_rows=max_rows)
        try:
            asyncio.run(engine._reproduce(bundle))
        except BaseException:
            engine.close()
            raise
        return engine

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs."""
        return self._scheduler.alive

    async def predict(self, request: PredictRequest) -> Prediction:
        """Raises InvalidInput, EmptyInput, TooManyTokens, EngineUnavailable.

        A caller who is cancelled gives back the request's slots before the next step.
        """
        started = time.perf_counter()
        prompts = await asyncio.to_thread(
            self._text.prompts, request.input, explain=request.explain
        )
        tokenization = time.perf_counter() - started
        limits = self.manifest.limits
        max_tokens = (limits.label_tokens, limits.rationale_tokens)
        job = Job([Sequence(*pair) for pair in zip(prompts, max_tokens, strict=False)])
        self._scheduler.submit(job)
        await asyncio.wrap_future(job.future)
        return self._prediction(job, tokenization)

    def close(self) -> None:
        self._scheduler.close()

    def _prediction(self, job: Job, tokenization: float) -> Prediction:
        label, *rationales = job.sequences
        text = self._text.decode(label.tokens)
        confidence = math.exp(label.logprob / self.manifest.calibration.temperature)
        return Prediction(
            label=text,
            confidence=confidence,
            answer=evaluate_equation(text) if self.manifest.task.answer == "arithmetic" else None,
            rationale=self._text.decode(rationales[0].tokens) if rationales else None,
            scores=(Score(text, confidence),),
            decoder_passes=len(job.sequences),
            usage=Usage(
                input_tokens=len(label.prompt),
                label_tokens=len(label.tokens),
                rationale_tokens=sum(len(rationale.tokens) for rationale in rationales),
                decoder_steps=max(len(sequence.tokens) for sequence in job.sequences),
            ),
            timings=Timings(
                tokenization=tokenization,
                queue=job.admitted - job.submitted,
                inference=job.finished - job.admitted,
            ),
        )

    async def _reproduce(self, bundle: Bundle) -> None:
        """Raises BundleError where a golden example does not come out as it should."""
        for golden in bundle.golden:
            try:
                prediction = await self.predict(PredictRequest(golden.fields, explain=True))
            except ServiceError as error:
                raise BundleError(f"{bundle.path(GOLDEN)}: {golden.fields}: {error}") from error
            for name in ("label", "rationale"):
                wanted, got = getattr(golden, name), getattr(prediction, name)
                if got != wanted:
                    raise BundleError(
                        f"{bundle.path(GOLDEN)}: {golden.fields} must give the {name} "
                        f"{wanted!r}, but it gives {got!r}"
                    )
