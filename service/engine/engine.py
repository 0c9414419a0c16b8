"""The engine: `await engine.predict(request)`, or `engine.stream(request)`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.bundle import DRAFT, GOLDEN, BundleError
from export.verify import Bundle, read
from service.engine.answer import Answer
from service.engine.answer_stream import AnswerStream
from service.engine.devices import DeviceChoice
from service.engine.draft import Drafter, NgramTable
from service.engine.label_sequence import LabelSequence
from service.engine.memory import release_memory
from service.engine.onnx_runner import OnnxRunner
from service.engine.prediction import Prediction, PredictRequest
from service.engine.scheduler import Scheduler
from service.engine.sequence import EngineRequest, Sequence
from service.engine.text import TextProcessor
from service.engine.text_sequence import TextSequence
from service.errors import LABELS_ONLY, InvalidParameter, ServiceError
from tasks.task import Fields


class Engine:
    """Answers requests with a bundle's student, whole or as a stream. Call `close` at the end.

    At most `max_rows` texts and `max_rows` label sets are computed at once; others wait. Without
    `speculate` no tokens are drafted: answers are the same, but texts take more steps.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: DeviceChoice = "auto",
        threads: int,
        max_rows: int,
        speculate: bool = True,
    ) -> None:
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.drafted = 0  # tokens, for answered requests
        self.accepted = 0  # drafted tokens that were right
        self._speculate = speculate
        self._table = None
        if speculate and DRAFT in bundle.manifest.files:
            self._table = NgramTable(bundle.path(DRAFT), bundle.manifest.model.vocab_size)
        self._text = TextProcessor(bundle)
        runner = OnnxRunner.on(device, bundle, threads)
        self.device = runner.device.title
        self._scheduler = Scheduler(runner, max_rows=max_rows)

    @classmethod
    def load(cls, folder: Path, alias: str | None = None, **options: Any) -> "Engine":
        """Reads the bundle, starts its engine and checks the golden examples. Returns the engine.

        `alias` replaces the manifest's name. `options` are Engine's. Raises DeviceError, or
        BundleError with the file and the reason. Do not call it in a thread that runs an event
        loop.
        """
        bundle = read(folder)
        if alias is not None:
            manifest = bundle.manifest.model_copy(update={"name": alias})
            bundle = replace(bundle, manifest=manifest)
        engine = cls(bundle, **options)
        try:
            asyncio.run(engine._reproduce())
        except BaseException:
            engine.close()
            raise
        release_memory()  # reading the graphs took it
        return engine

    @property
    def alive(self) -> bool:
        """Whether the engine's thread runs and is not stuck."""
        return self._scheduler.alive

    @property
    def broken(self) -> bool:
        """Whether the model has failed several times in a row, a short time ago."""
        return self._scheduler.broken

    @property
    def slots(self) -> int:
        """How many texts and label sets together may be computed at once."""
        return self._scheduler.slots

    @property
    def slots_in_use(self) -> int:
        return self._scheduler.slots_in_use

    @property
    def steps(self) -> int:
        """The number of steps that the decoder has taken."""
        return self._scheduler.steps

    async def predict(self, request: PredictRequest) -> Prediction:
        """The label of an input, and its rationale if asked for.

        Raises an InputError, InvalidParameter, InternalError or EngineUnavailable. If the caller is
        cancelled, the request's slots are free before the next step.
        """
        answer = await self._submit(request)
        await asyncio.wrap_future(answer.request.future)
        return answer.prediction()

    @asynccontextmanager
    async def stream(self, request: PredictRequest) -> AsyncIterator[AnswerStream]:
        """Yields the answer as a stream. Raises the same errors as `predict`.

        If the caller leaves the context or is cancelled, the request's slots are free before the
        next step.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell(*_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(news.set)

        answer = await self._submit(request, tell)
        answer.request.future.add_done_callback(tell)
        try:
            yield AnswerStream(answer, news)
        finally:
            answer.request.future.cancel()

    def close(self) -> None:
        """Stops the engine and frees the model's memory. Open requests fail: EngineUnavailable."""
        self._scheduler.close()
        self._table = None
        release_memory()

    async def _submit(
        self, request: PredictRequest, listener: Callable[[], None] | None = None
    ) -> Answer:
        """Gives the request's sequences to the scheduler. Returns the unfinished answer."""
        started = time.perf_counter()
        answer = await asyncio.to_thread(self._prepare, request, listener)
        answer.tokenization = time.perf_counter() - started
        answer.request.future.add_done_callback(self._count)
        self._scheduler.submit(answer.request)
        return answer

    def _prepare(self, request: PredictRequest, listener: Callable[[], None] | None) -> Answer:
        limits = self.manifest.limits
        rationale_tokens = request.max_rationale_tokens or limits.rationale_tokens
        if not 1 <= rationale_tokens <= limits.rationale_tokens:
            raise InvalidParameter(
                f"max_rationale_tokens: {rationale_tokens}, but {self.manifest.name} writes from 1 "
                f"to {limits.rationale_tokens}"
            )
        if request.explain and not self.manifest.explains:
            raise InvalidParameter(
                f"explain: {self.manifest.name} {LABELS_ONLY}; ask for the label alone, or ask a "
                "model that explains (see /models)"
            )
        codec = self._text.codec(request.input)
        prompts = self._text.prompts(codec, explain=request.explain, truncate=request.truncate)
        predict, *explain = (prompt.ids for prompt in prompts)
        trie = self._text.labels(request.input)
        label: Sequence
        if trie is None:
            label = TextSequence(predict, limits.label_tokens, self._drafter(predict))
        else:
            label = LabelSequence(predict, trie)
        explains = label if self.manifest.task.explain_given_label else None
        rationales = [
            TextSequence(prompt, rationale_tokens, self._drafter(prompt), explains)
            for prompt in explain
        ]
        return Answer(
            request,
            EngineRequest([label, *rationales], listener),
            self.manifest,
            self._text,
            codec,
            truncated=any(prompt.truncated for prompt in prompts),
        )

    def _drafter(self, prompt: list[int]) -> Drafter | None:
        if not self._speculate:
            return None
        return Drafter(prompt, self.manifest.model.decoder_start_id, self._table)

    def _count(self, future: Future[EngineRequest]) -> None:
        """Adds up the drafted tokens of a finished request, if it was answered."""
        if not future.cancelled() and future.exception() is None:
            for sequence in future.result().sequences:
                self.drafted += sequence.drafted
                self.accepted += sequence.accepted

    async def _reproduce(self) -> None:
        """Raises BundleError if a golden example gives another answer than the bundle says.

        Without golden examples, it tries the model once, with the task's form as the input.
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
            return await self.predict(PredictRequest(fields, explain=self.manifest.explains))
        except ServiceError as error:
            raise BundleError(f"{path}: {fields}: {error}") from error
