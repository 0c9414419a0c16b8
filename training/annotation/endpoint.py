"""A client of an endpoint for OpenAI's chat completions. It retries until it has an answer."""

import asyncio
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import openai
from pydantic import BaseModel, Field, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from training.annotation.completion import Completion
from training.annotation.pace import Pace
from training.annotation.tokens import guess_tokens, tokens_in

LONGEST_BACKOFF = 30.0  # seconds between two tries, where the endpoint does not say
LONGEST_PAUSE = 900.0  # seconds: where an endpoint asks for a longer wait, the run ends

_backoff = wait_random_exponential(multiplier=0.5, max=LONGEST_BACKOFF)

# Headers in which the client would describe this machine.
_TELLTALE = ("Arch", "Async", "Lang", "OS", "Package-Version", "Runtime", "Runtime-Version")
_UNTOLD = {f"X-Stainless-{name}": openai.Omit() for name in _TELLTALE}
_UNTOLD |= {"x-stainless-retry-count": openai.Omit(), "x-stainless-read-timeout": openai.Omit()}


class EndpointError(RuntimeError):
    """The endpoint will not answer any more requests. The message says why."""


class Unanswered(RuntimeError):
    """All tries of a request failed. The next run tries it again."""


class _Malformed(RuntimeError):
    """An answer of the endpoint is not a chat completion."""


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = Field(None, ge=0)
    completion_tokens: int | None = Field(None, ge=0)


class _Body(BaseModel):
    """The part of a completion's JSON that is needed."""

    choices: list[_Choice] = Field(min_length=1)
    model: str | None = None
    usage: _Usage | None = None


class Endpoint:
    """An endpoint. A context manager, for one event loop. No error message contains the key.

    Once the pace's `stopped` is set, requests in flight are waited for. No request starts or is
    tried again.
    """

    def __init__(
        self, base_url: str | None, key: str | None, pace: Pace, *, timeout: float, tries: int
    ) -> None:
        """`base_url` is the address without `/chat/completions`; None is OpenAI's own.

        `timeout` is in seconds, for a whole answer. A request is tried up to `tries` times.
        """
        self._key, self._timeout, self._tries = key, timeout, tries
        self._pace = pace
        self._served = 0  # requests with an answer of any kind
        self.retries = 0
        self.trouble = ""  # the reason for the last retry
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=key or "none",
            max_retries=0,  # the client's own retries would not make other requests wait
            timeout=timeout,
            default_headers={"User-Agent": "duet"},
        )
        self.name = str(self._client.base_url.copy_with(userinfo=b"", query=None))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.close()

    async def ask(self, body: dict[str, Any]) -> Completion:
        """The completion of a request. It may say that the endpoint refused the request.

        A temporary failure is tried again, with random exponential backoff. If the endpoint sends
        `Retry-After`, all requests wait. A rate limit does not count as a try as long as other
        requests are served. Raises Unanswered where all tries fail, and EndpointError where no
        request will succeed.
        """
        served, spared = self._served, 0

        def enough(state: RetryCallState) -> bool:
            nonlocal served, spared
            if isinstance(_error(state), openai.RateLimitError) and self._served > served:
                served, spared = self._served, state.attempt_number
            return self._pace.stopped.is_set() or state.attempt_number - spared >= self._tries

        retrying = AsyncRetrying(
            retry=retry_if_exception(_passes),
            wait=self._wait,
            stop=enough,
            before_sleep=self._note,
            sleep=self._pace.rest,
            reraise=True,
        )
        try:
            completion: Completion = await retrying(self._ask_once, body)
        except openai.APIStatusError as error:
            if error.status_code in (400, 413, 422):
                return Completion(None, refused=self._told(error))
            if _passes(error):
                raise Unanswered(self._told(error)) from None
            raise EndpointError(f"{self.name}: {self._told(error)}") from None
        except (openai.APIConnectionError, TimeoutError, _Malformed) as error:
            raise Unanswered(self._told(error)) from None
        self._served += 1
        return completion

    async def _ask_once(self, body: dict[str, Any]) -> Completion:
        guess = sum(guess_tokens(body))
        await self._pace.turn(guess)
        if self._pace.stopped.is_set():
            raise Unanswered("stopped")
        async with asyncio.timeout(self._timeout):  # the client's own is between two bytes
            text = await self._client.post(
                "/chat/completions", cast_to=str, body=body, options={"headers": _UNTOLD}
            )
        try:
            content = _Body.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "body"
            raise _Malformed(f"no chat completion ({where}: {problem['msg']}): {text}") from None
        completion = _completion(content, body)
        self._pace.correct(completion.input_tokens + completion.output_tokens - guess)
        return completion

    def _wait(self, state: RetryCallState) -> float:
        """Seconds until the next try. A wait that the endpoint asks for pauses all requests."""
        error = _error(state)
        asked = _retry_after(error) if isinstance(error, openai.APIStatusError) else None
        if asked is not None:
            if asked > LONGEST_PAUSE:
                raise EndpointError(
                    f"{self.name}: asks to wait {asked:,.0f} s; start again after that"
                )
            self._pace.pause(asked)
        return _backoff(state)

    def _note(self, state: RetryCallState) -> None:
        self.retries += 1
        if isinstance(error := _error(state), Exception):
            self.trouble = self._told(error)

    def _told(self, error: Exception) -> str:
        reason = str(error.__cause__ or "") or str(error)
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            reason = "no answer in time"
        if self._key:
            reason = reason.replace(self._key, "(the key)")
        return " ".join(reason.split())[:500].encode(errors="replace").decode()


def _completion(content: _Body, body: dict[str, Any]) -> Completion:
    choice, usage = content.choices[0], content.usage or _Usage()
    message = choice.message
    text = message.content or ""
    asked, answered = usage.prompt_tokens, usage.completion_tokens
    return Completion(
        text,
        finish_reason="refusal" if message.refusal else choice.finish_reason,
        model=content.model,
        input_tokens=guess_tokens(body)[0] if asked is None else asked,
        output_tokens=tokens_in(text) if answered is None else answered,
        tokens_guessed=asked is None or answered is None,
    )


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _passes(error: BaseException) -> bool:
    """Whether a failure may be temporary."""
    if isinstance(error, openai.RateLimitError):
        return error.code != "insufficient_quota"
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 or error.status_code in (408, 409)
    return isinstance(error, openai.APIConnectionError | TimeoutError | _Malformed)


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that the endpoint asks to wait, by `Retry-After` (RFC 9110, 10.2.3)."""
    asked = error.response.headers.get("retry-after", "")
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        date: datetime = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())
