"""The engine's one door: `await engine.predict(request)`."""

import asyncio
import math
import time
from dataclasses import dataclass
from pathlib import Path

from export.bundle import DRAFT, GOLDEN, Bundle, BundleError, read
from service.engine.admission import MAX_QUEUE, TIMEOUT, Admission
from service.engine.devices import DeviceChoice
from service.engine.draft import Drafter, NgramTable
from service.engine.generation import Generation
from service.engine.job import Job, Row
from service.engine.labels import Scoring, rank
from service.engine.runner import Runner
from service.engine.scheduler import Scheduler
from service.engine.text import Input, TextProcessor, evaluate_equation
from service.errors import ServiceError


@dataclass(frozen=True)
class PredictRequest:
    """`top_k` is how many scores of a closed label set to give; None: all of them."""

    input: Input
    explain: bool = False
    top_k: int | None = None


@dataclass(frozen=True)
class Score:
    label: str
    score: float


@dataclass(frozen=True)
class Usage:
    """Tokens, the end tokens included, and steps of the decoder that the request took part in.

    The steps are fewer than the tokens where drafts were right: `accepted_tokens` were drafted.
    """

    input_tokens: int
    label_tokens: int
    rationale_tokens: int
    decoder_steps: int
    accepted_tokens: int


@dataclass
class Counters:
    """Tokens of the texts that were generated for answered requests."""

    tokens: int = 0
    drafted: int = 0
    accepted: int = 0

    def add(self, row: Generation) -> None:
        self.tokens += len(row.tokens)
        self.drafted += row.drafted
        self.accepted += row.accepted


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
    """A bundle's student, ready to answer. `close` it in the end.

    Without `speculate` no token is drafted: answers are the same, and texts take more steps.
    `admission` is the bound on requests from outside: max_queue inputs, beside max_rows in slots.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: DeviceChoice = "auto",
        threads: int,
        max_rows: int,
        max_queue: int = MAX_QUEUE,
        timeout: float = TIMEOUT,
        speculate: bool = True,
    ) -> None:
        self.manifest = bundle.manifest
        self.admission = Admission(max_rows + max_queue, timeout)
        self.counters = Counters()
        self._speculate = speculate
        self._table = None
        if speculate and DRAFT in bundle.manifest.files:
            self._table = NgramTable(bundle.path(DRAFT), bundle.manifest.model.vocab_size)
        self._text = TextProcessor(bundle)
        runner = Runner.on(device, bundle, threads)
        self.device = runner.device.title
        self._scheduler = Scheduler(runner, max_rows=max_rows)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: DeviceChoice = "auto",
        threads: int,
        max_rows: int,
        max_queue: int = MAX_QUEUE,
        timeout: float = TIMEOUT,
        speculate: bool = True,
    ) -> "Engine":
        """Starts the engine of a bundle that is whole and gives what it says it gives.

        Raises BundleError, naming the file and the reason, and DeviceError. Not for a thread with
        an event loop.
        """
        bundle = read(folder)
        engine = cls(
            bundle,
            device=device,
            threads=threads,
            max_rows=max_rows,
            max_queue=max_queue,
            timeout=timeout,
            speculate=speculate,
        )
        try:
            asyncio.run(engine._reproduce(bundle))
        except BaseException:
            engine.close()
            raise
        return engine

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs and moves."""
        return self._scheduler.alive

    @property
    def broken(self) -> bool:
        """Whether the model fails again and again."""
        return self._scheduler.broken

    async def predict(self, request: PredictRequest) -> Prediction:
        """Raises InvalidInput, EmptyInput, TooManyTokens, InternalError, EngineUnavailable.

        A caller who is cancelled gives back the request's slots before the next step.
        """
        started = time.perf_counter()
        rows = await asyncio.to_thread(self._rows, request)
        tokenization = time.perf_counter() - started
        job = Job(rows)
        self._scheduler.submit(job)
        await asyncio.wrap_future(job.future)
        return self._prediction(job, request, tokenization)

    def close(self) -> None:
        self._scheduler.close()

    def _rows(self, request: PredictRequest) -> list[Row]:
        """The row of the label, and with `explain` that of the rationale."""
        limits = self.manifest.limits
        predict, *explain = self._text.prompts(request.input, explain=request.explain)
        trie = self._text.labels(request.input)
        label = Scoring(predict, trie) if trie else self._generation(predict, limits.label_tokens)
        return [label, *(self._generation(prompt, limits.rationale_tokens) for prompt in explain)]

    def _generation(self, prompt: list[int], max_tokens: int) -> Generation:
        if not self._speculate:
            return Generation(prompt, max_tokens)
        start_id = self.manifest.model.decoder_start_id
        return Generation(prompt, max_tokens, Drafter(prompt, start_id, self._table))

    def _prediction(self, job: Job, request: PredictRequest, tokenization: float) -> Prediction:
        label, *rest = job.rows
        rationales = [row for row in rest if isinstance(row, Generation)]
        scores, label_tokens = self._scores(label)
        best = scores[0]
        texts = [row for row in job.rows if isinstance(row, Generation)]
        for text in texts:
            self.counters.add(text)
        arithmetic = self.manifest.task.answer == "arithmetic"
        return Prediction(
            label=best.label,
            confidence=best.score,
            answer=evaluate_equation(best.label) if arithmetic else None,
            rationale=self._text.decode(rationales[0].tokens) if rationales else None,
            scores=scores[: request.top_k],
            decoder_passes=len(job.rows),
            usage=Usage(
                input_tokens=len(label.prompt),
                label_tokens=label_tokens,
                rationale_tokens=sum(len(rationale.tokens) for rationale in rationales),
                decoder_steps=job.steps,
                accepted_tokens=sum(text.accepted for text in texts),
            ),
            timings=Timings(
                tokenization=tokenization,
                queue=job.admitted - job.submitted,
                inference=job.finished - job.admitted,
            ),
        )

    def _scores(self, row: Row) -> tuple[tuple[Score, ...], int]:
        """The scores of labels, the best first, and how many tokens the best label has."""
        temperature = self.manifest.calibration.temperature
        if isinstance(row, Scoring):
            trie = row.trie
            order, probabilities = rank(row.logprobs, temperature)
            scores = (Score(trie.labels[i], probabilities[i]) for i in order)
            return tuple(scores), trie.lengths[order[0]]
        assert isinstance(row, Generation)
        confidence = math.exp(row.logprob / temperature)
        return (Score(self._text.decode(row.tokens), confidence),), len(row.tokens)

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
