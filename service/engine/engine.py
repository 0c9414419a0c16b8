"""The engine's door: `await engine.predict(request)`, or `engine.stream(request)`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
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
from service.errors import InvalidParameter, ServiceError
from tasks.task import Fields


class Engine:
    """A bundle's student, ready to answer, at once or as a stream. `close` it in the end.

    `max_rows` texts and as many label sets are in work at once; more wait. Without `speculate` no
    token is drafted: answers are the same, and texts take more steps.
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
    def load(cls, folder: Path, **options: Any) -> "Engine":
        """The engine of a bundle that is whole, and that gives what its golden examples say.

        `options` are those of Engine. Raises BundleError, which names the file and the reason, and
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
        """The label of an input, and its rationale if asked for.

        Raises an InputError, InvalidParameter, InternalError or EngineUnavailable. A caller that is
        cancelled gives back the request's slots before the next step.
        """
        answer = await self._submit(request)
        await asyncio.wrap_future(answer.request.future)
        return answer.prediction()

    @asynccontextmanager
    async def stream(self, request: PredictRequest) -> AsyncIterator[AnswerStream]:
        """What `predict` returns, in parts as they are there. Raises what `predict` raises.

        A caller that leaves the context, or is cancelled, gives back the request's slots before the
        next step.
        """
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell(*_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody listens any more
                loop.call_soon_threadsafe(news.set)

        answer = await self._submit(request, tell)
        answer.request.future.add_done_callback(tell)
        try:
            yield AnswerStream(answer, news)
        finally:
            answer.request.future.cancel()

    def close(self) -> None:
        """Gives the model's memory back. Requests in work fail with EngineUnavailable."""
        self._scheduler.close()
        self._table = None
        release_memory()

    async def _submit(
        self, request: PredictRequest, listener: Callable[[], None] | None = None
    ) -> Answer:
        """The answer to come, whose sequences the scheduler has."""
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
        """Counts the drafts of a request that is over, if it was answered."""
        if not future.cancelled() and future.exception() is None:
            for sequence in future.result().sequences:
                self.drafted += sequence.drafted
                self.accepted += sequence.accepted

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
