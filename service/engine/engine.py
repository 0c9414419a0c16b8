"""The engine's one door: `await engine.predict(request)`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.bundle import DRAFT, GOLDEN, BundleError
from export.verify import Bundle, read
from service.admission import MAX_QUEUE, TIMEOUT, Admission
from service.engine.devices import DeviceChoice
from service.engine.draft import Drafter, NgramTable
from service.engine.generation import Generation, confidence_of
from service.engine.job import Job, Row
from service.engine.labels import Scoring, rank
from service.engine.memory import release_memory
from service.engine.prediction import Labelled, Prediction, PredictRequest, Score, Timings, Usage
from service.engine.runner import Runner
from service.engine.scheduler import Scheduler
from service.engine.text import TextProcessor
from service.errors import InvalidParameter, ServiceError
from tasks.equations import evaluate_equation
from tasks.placeholders import Codec
from tasks.task import Fields


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
class _Asked:
    """A request, the codec of its input, and the seconds that its tokens took."""

    request: PredictRequest
    codec: Codec
    tokenization: float


class Engine:
    """A bundle's student, ready to answer, at once or as a stream. `close` it in the end.

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
        self.bundle = bundle
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
    def load(cls, folder: Path, **options: Any) -> "Engine":
        """Starts the engine of a bundle that is whole and gives what it says it gives.

        `options` are those of Engine. Raises BundleError, naming the file and the reason, and
        DeviceError. Not for a thread with an event loop.
        """
        engine = cls(read(folder), **options)
        try:
            asyncio.run(engine._reproduce())
        except BaseException:
            engine.close()
            raise
        release_memory()  # that reading the graphs took
        return engine

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs and moves."""
        return self._scheduler.alive

    @property
    def broken(self) -> bool:
        """Whether the model fails again and again."""
        return self._scheduler.broken

    @property
    def slots(self) -> int:
        """Texts that may be generated at once, and label sets scored, together."""
        return self._scheduler.slots

    @property
    def slots_in_use(self) -> int:
        return self._scheduler.slots_in_use

    @property
    def steps(self) -> int:
        """Steps that the decoder has taken."""
        return self._scheduler.steps

    async def predict(self, request: PredictRequest) -> Prediction:
        """Raises an InputError, InvalidParameter, InternalError or EngineUnavailable.

        A caller who is cancelled gives back the request's slots before the next step.
        """
        job, asked = await self._submit(request)
        await asyncio.wrap_future(job.future)
        return self._prediction(job, asked)

    async def stream(
        self, request: PredictRequest
    ) -> AsyncGenerator[Labelled | str | Prediction, None]:
        """First the label, then the rationale in pieces as it is written, then all that `predict`
        returns. Raises what `predict` raises, also between the pieces.

        A caller who closes it, or is cancelled, gives back the request's slots before the next
        step.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody listens any more
                loop.call_soon_threadsafe(news.set)

        job, asked = await self._submit(request, tell)
        job.future.add_done_callback(lambda _: tell())
        label, *rationale = job.rows
        labelled, written, over = False, "", False
        try:
            while not over:
                await news.wait()
                news.clear()
                over = job.future.done()  # before a look at the rows, which it then finds done
                if label.finished is not None and not labelled:
                    labelled = True
                    yield self._labelled(job, asked)
                for row in rationale if labelled else ():
                    assert isinstance(row, Generation)
                    settled = asked.codec.unmask_settled(self._text.decode_settled(row.tokens))
                    if piece := settled[len(written) :]:
                        yield piece
                        written = settled
            prediction = self._prediction(job.future.result(), asked)
            if piece := (prediction.rationale or "")[len(written) :]:
                yield piece
            yield prediction
        finally:
            job.future.cancel()

    def close(self) -> None:
        """Gives the model's memory back. Requests in work fail with EngineUnavailable."""
        self._scheduler.close()
        self._table = None
        release_memory()

    async def _submit(
        self, request: PredictRequest, listener: Callable[[], None] | None = None
    ) -> tuple[Job, _Asked]:
        """A job in the scheduler's hands, and what it was made of."""
        started = time.perf_counter()
        rows, codec, truncated = await asyncio.to_thread(self._rows, request)
        asked = _Asked(request, codec, time.perf_counter() - started)
        job = Job(rows, listener, truncated)
        self._scheduler.submit(job)
        return job, asked

    def _rows(self, request: PredictRequest) -> tuple[list[Row], Codec, bool]:
        """The row of the label, and with `explain` that of the rationale; the input's codec, and
        if a prompt was cut."""
        limits = self.manifest.limits
        rationale_tokens = request.max_rationale_tokens or limits.rationale_tokens
        if not 1 <= rationale_tokens <= limits.rationale_tokens:
            raise InvalidParameter(
                f"max_rationale_tokens: {rationale_tokens}, but {self.manifest.name} writes from 1 "
                f"to {limits.rationale_tokens}"
            )
        codec = self._text.codec(request.input)
        prompts = self._text.prompts(codec, explain=request.explain, truncate=request.truncate)
        predict, *explain = (prompt.ids for prompt in prompts)
        trie = self._text.labels(request.input)
        label = Scoring(predict, trie) if trie else self._generation(predict, limits.label_tokens)
        rows: list[Row] = [label]
        explained = label if self.manifest.task.explain_given_label else None
        rows += [self._generation(prompt, rationale_tokens, explained) for prompt in explain]
        return rows, codec, any(prompt.truncated for prompt in prompts)

    def _generation(
        self, prompt: list[int], max_tokens: int, explains: Generation | Scoring | None = None
    ) -> Generation:
        drafter = None
        if self._speculate:
            drafter = Drafter(prompt, self.manifest.model.decoder_start_id, self._table)
        return Generation(prompt, max_tokens, drafter, explains)

    def _labelled(self, job: Job, asked: _Asked) -> Labelled:
        """What is known as soon as the label is there."""
        label, *rationale = job.rows
        scores = self._scores(label, asked.codec)
        best = scores[0]
        arithmetic = self.manifest.task.answer == "arithmetic"
        seconds = [
            None if row.finished is None else row.finished - job.admitted for row in job.rows
        ]
        assert seconds[0] is not None
        return Labelled(
            model=self.manifest,
            label=best.label,
            confidence=best.score,
            answer=evaluate_equation(best.label) if arithmetic else None,
            scores=scores[: asked.request.top_k],
            timings=Timings(
                tokenization=asked.tokenization,
                queue=job.admitted - job.submitted,
                inference=max(filter(None, seconds)),
                label=seconds[0],
                rationale=seconds[-1] if rationale else None,
            ),
        )

    def _prediction(self, job: Job, asked: _Asked) -> Prediction:
        label, *rest = job.rows
        rationales = [row for row in rest if isinstance(row, Generation)]
        labelled = self._labelled(job, asked)
        texts = [row for row in job.rows if isinstance(row, Generation)]
        for text in texts:
            self.counters.add(text)
        rationale = None
        if rationales:
            rationale = asked.codec.unmask_rationale(self._text.decode(rationales[0].tokens))
        return Prediction(
            **vars(labelled),
            rationale=rationale,
            decoder_passes=len(job.rows),
            usage=Usage(
                input_tokens=len(label.prompt),
                label_tokens=_label_tokens(label, labelled.label),
                rationale_tokens=sum(len(rationale.tokens) for rationale in rationales),
                decoder_steps=job.steps,
                accepted_tokens=sum(text.accepted for text in texts),
                truncated=job.truncated,
            ),
        )

    def _scores(self, row: Row, codec: Codec) -> tuple[Score, ...]:
        """The scores of labels, the best first."""
        calibration = self.manifest.calibration
        if isinstance(row, Scoring):
            trie = row.trie
            order, probabilities = rank(row.logprobs, calibration.temperature)
            return tuple(Score(trie.labels[i], probabilities[i]) for i in order)
        assert isinstance(row, Generation)
        confidence = confidence_of(row.logprob, calibration)
        return (Score(codec.unmask_label(self._text.decode(row.tokens)), confidence),)

    async def _reproduce(self) -> None:
        """Raises BundleError where a golden example does not come out as it should.

        Without golden examples, an input of the task's form takes a first run.
        """
        path = self.bundle.path(GOLDEN)
        if not self.bundle.golden:
            await self._first(self.manifest.task.form(), path)
        for golden in self.bundle.golden:
            prediction = await self._first(golden.fields, path)
            for name in ("label", "rationale"):
                wanted, got = getattr(golden, name), getattr(prediction, name)
                if got != wanted:
                    raise BundleError(
                        f"{path}: {golden.fields} must give the {name} {wanted!r}, but it gives "
                        f"{got!r}"
                    )

    async def _first(self, fields: Fields, path: Path) -> Prediction:
        try:
            return await self.predict(PredictRequest(fields, explain=True))
        except ServiceError as error:
            raise BundleError(f"{path}: {fields}: {error}") from error


def _label_tokens(row: Row, label: str) -> int:
    if isinstance(row, Scoring):
        return row.trie.lengths[row.trie.labels.index(label)]
    assert isinstance(row, Generation)
    return len(row.tokens)
