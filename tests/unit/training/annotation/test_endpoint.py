import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.support.fake_openai import Chat, Reply, Respond, chatting, completion, said
from training.annotation.completion import Completion
from training.annotation.endpoint import Endpoint, EndpointError, Unanswered
from training.annotation.pace import Pace

BODY = {
    "model": "m",
    "messages": [{"role": "user", "content": "“How” many?\u2028"}],
    "temperature": 0.0,
    "response_format": {"type": "json_object"},
    "chat_template_kwargs": {"enable_thinking": False},
}
KEY = "sk-not-to-be-shown"
FINE = Completion("So.", "stop", "grader", None, 6, 1, tokens_guessed=True)


@pytest.fixture(autouse=True)
def backoff(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tries after which a request backed off, for no time at all."""
    tries: list[int] = []

    def wait(state: Any) -> float:
        tries.append(state.attempt_number)
        return 0.0

    monkeypatch.setattr("training.annotation.endpoint._backoff", wait)
    return tries


def ask(
    respond: Respond | list[Reply],
    times: int = 1,
    *,
    tries: int = 8,
    timeout: float = 30,
    meanwhile: Callable[[Endpoint, asyncio.Event], None] = lambda endpoint, stopped: None,
) -> tuple[list[Completion | Exception], Chat, Endpoint]:
    """What came of so many requests, one after the other; a list are the replies, in order."""
    if isinstance(respond, list):
        replies = respond

        def respond(body: dict[str, Any], number: int) -> Reply:
            return replies[number] if number < len(replies) else said("So.")

    async def ask_all(chat: Chat) -> tuple[list[Completion | Exception], Endpoint]:
        stopped, found = asyncio.Event(), list[Completion | Exception]()
        pace = Pace(stopped)
        async with Endpoint(chat.url, KEY, pace, timeout=timeout, tries=tries) as endpoint:
            meanwhile(endpoint, stopped)
            for _ in range(times):
                try:
                    found.append(await endpoint.ask(BODY))
                except (EndpointError, Unanswered) as error:
                    found.append(error)
        return found, endpoint

    with chatting(respond) as chat:
        found, endpoint = asyncio.run(ask_all(chat))
    return found, chat, endpoint


def broken(status: int, message: str = "oops", code: str = "", **headers: str) -> Reply:
    text = json.dumps({"error": {"message": message, "code": code}})
    return Reply(status, text, {name.replace("_", "-"): text for name, text in headers.items()})


def test_a_request_is_its_body_and_tells_nothing_of_this_machine() -> None:
    [answer], chat, _ = ask([])
    assert answer == FINE
    assert chat.requests == [BODY | {"path": "/v1/chat/completions"}]
    (headers,) = chat.headers
    assert headers.pop("authorization") == f"Bearer {KEY}"
    assert headers.pop("user-agent") == "duet"
    assert set(headers) == {
        *("host", "accept", "accept-encoding", "connection", "content-type", "content-length")
    }


def test_an_answer_has_what_the_endpoint_counted() -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14, "cost": 0.1}
    content = completion("So 🙂.", finish_reason="length") | {"usage": usage}
    [answer], *_ = ask([Reply(200, json.dumps(content))])
    assert answer == Completion("So 🙂.", "length", "grader", None, 11, 3)
    partial = completion("So.") | {"usage": {"prompt_tokens": 11, "completion_tokens": None}}
    [answer], *_ = ask([Reply(200, json.dumps(partial))])
    assert answer == Completion("So.", "stop", "grader", None, 11, 1, tokens_guessed=True)


def test_a_model_may_say_nothing_or_refuse() -> None:
    calls = {"role": "assistant", "content": None, "tool_calls": []}
    refusal = {"role": "assistant", "content": None, "refusal": "I will not."}
    found, *_ = ask([said(None, message=calls), said(None, message=refusal)], times=2)
    assert [(one.text, one.finish_reason) for one in found] == [("", "stop"), ("", "refusal")]


@pytest.mark.parametrize(
    "failure",
    [
        broken(429),
        broken(429, retry_after="0"),
        broken(429, retry_after="soon"),
        broken(503, retry_after="0.001"),
        broken(500),
        broken(408),
        broken(409),
        broken(529),
        Reply(502, "<html>Bad gateway</html>"),
        Reply(200, ""),
        Reply(200, "<html>"),
        Reply(200, '{"choices": [{"mess'),
        Reply(200, "null"),
        Reply(200, '{"choices": []}'),
        Reply(200, '{"choices": [{"message": null}]}'),
        Reply(200, '{"choices": [{"message": {"content": "half a character: \\ud83d"}}]}'),
        Reply(200, '{"error": {"message": "upstream is down"}}'),
        Reply(200, said("So.").text, cut=30),
        Reply(200, said("So.").text, cut=0),
        Reply(200, said("So.").text, {"content-encoding": "gzip"}),
    ],
)
def test_what_fails_in_passing_is_tried_again(failure: Reply, backoff: list[int]) -> None:
    [answer], chat, endpoint = ask([failure, failure])
    assert answer == FINE
    assert len(chat.requests) == 3
    assert backoff == [1, 2]
    assert endpoint.retries == 2


@pytest.mark.parametrize("slow", [{"delay": 60}, {"trickle": 0.05}])
def test_an_answer_that_takes_too_long_is_asked_for_again(slow: dict[str, float]) -> None:
    late = Reply(200, said("So.").text, **slow)
    [answer], chat, endpoint = ask([late], timeout=0.5)
    assert answer == FINE
    assert len(chat.requests) >= 2
    assert endpoint.trouble == "no answer in time"


def test_what_goes_on_failing_is_given_up_with_its_reason() -> None:
    [error], chat, _ = ask([broken(500, "no memory")] * 3, tries=3)
    assert isinstance(error, Unanswered)
    assert "no memory" in str(error)
    assert len(chat.requests) == 3
    [error], *_ = ask([Reply(200, '{"error": "upstream is down"}')], tries=1)
    assert str(error) == (
        'no chat completion (choices: Field required): {"error": "upstream is down"}'
    )


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_row_that_is_refused_is_not_tried_again(status: int) -> None:
    found, chat, _ = ask([broken(status, "too long")], times=2)
    assert found[0].text is None
    assert "too long" in found[0].refused
    assert found[1] == FINE
    assert len(chat.requests) == 2


@pytest.mark.parametrize(
    "reply",
    [
        broken(401, "no such key"),
        broken(402, "nothing left"),
        broken(403, "not for you"),
        broken(404, "no such model"),
        broken(429, "quota is spent", "insufficient_quota"),
    ],
)
def test_what_holds_for_all_requests_is_an_error_at_once(reply: Reply) -> None:
    [error], chat, endpoint = ask([reply])
    assert isinstance(error, EndpointError)
    assert str(error).startswith(f"{endpoint.name}: Error code: {reply.status}")
    assert json.loads(reply.text)["error"]["message"] in str(error)
    assert len(chat.requests) == 1


def test_the_key_stands_in_no_error() -> None:
    echo = f"the key Bearer {KEY} is wrong"
    for reply in (broken(401, echo), broken(400, echo), broken(500, echo), Reply(200, echo)):
        [found], _, endpoint = ask([reply], tries=1)
        shown = str(found) + endpoint.trouble
        assert "(the key)" in shown
        assert KEY not in shown


def test_all_requests_wait_as_long_as_the_endpoint_asks() -> None:
    pauses = list[float]()

    def watch(endpoint: Endpoint, stopped: asyncio.Event) -> None:
        endpoint._pace.pause = pauses.append

    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    long_ago = "Wed, 21 Oct 2015 07:28:00 GMT"
    replies = [
        broken(429, retry_after="2.5"),
        broken(503, retry_after=in_a_minute),
        broken(500, retry_after=long_ago),
        broken(429, retry_after="-3"),
        broken(429),
    ]
    [answer], *_ = ask(replies, meanwhile=watch)
    assert answer == FINE
    assert pauses[0] == 2.5
    assert 0 < pauses[1] <= 60
    assert pauses[2:] == [0, 0]


def test_a_pause_is_kept_by_requests_that_were_not_refused() -> None:
    """By the order of arrivals alone: what comes after the refusal comes after the pause."""

    def respond(body: dict[str, Any], number: int) -> Reply:
        return broken(429, retry_after="0.3") if number == 0 else said("So.")

    async def ask_both(chat: Chat) -> None:
        stopped = asyncio.Event()
        async with Endpoint(chat.url, KEY, Pace(stopped), timeout=30, tries=8) as endpoint:
            first = asyncio.create_task(endpoint.ask(BODY))
            while not endpoint.retries:
                await asyncio.sleep(0.001)
            await asyncio.gather(first, *(endpoint.ask(BODY) for _ in range(3)))

    with chatting(respond) as chat:
        asyncio.run(ask_both(chat))
    assert len(chat.times) == 5
    assert min(chat.times[1:]) - chat.times[0] >= 0.3


def test_nobody_waits_for_hours() -> None:
    [error], chat, endpoint = ask([broken(429, retry_after="7200")])
    assert isinstance(error, EndpointError)
    assert str(error) == f"{endpoint.name}: asks to wait 7,200 s; start again after that"
    assert len(chat.requests) == 1


def test_a_rate_limit_costs_no_try_while_others_are_served() -> None:
    """One in three requests is let through, and the others must come again, some often."""

    def respond(body: dict[str, Any], number: int) -> Reply:
        return said("So.") if number % 3 == 2 else broken(429, retry_after="0")

    async def ask_all(chat: Chat) -> list[Completion]:
        stopped = asyncio.Event()
        async with Endpoint(chat.url, KEY, Pace(stopped), timeout=30, tries=3) as endpoint:
            return await asyncio.gather(*(endpoint.ask(BODY) for _ in range(30)))

    with chatting(respond) as chat:
        assert asyncio.run(ask_all(chat)) == [FINE] * 30
    assert len(chat.requests) == 90
    [error], chat, _ = ask(lambda body, number: broken(429, retry_after="0"), tries=3)
    assert isinstance(error, Unanswered)
    assert len(chat.requests) == 3


def test_once_stopped_no_request_is_begun_nor_tried_again() -> None:
    found, chat, _ = ask([], meanwhile=lambda endpoint, stopped: stopped.set())
    assert isinstance(found[0], Unanswered)
    assert not chat.requests
    stop = list[Callable[[], None]]()

    def respond(body: dict[str, Any], number: int) -> Reply:
        stop[0]()
        return broken(429, retry_after="60")

    def watch(endpoint: Endpoint, stopped: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(stopped.set))

    found, chat, _ = ask(respond, meanwhile=watch)
    assert isinstance(found[0], Unanswered)
    assert len(chat.requests) == 1


def test_nobody_is_there(unused_port: int) -> None:
    async def ask_once() -> None:
        stopped = asyncio.Event()
        url = f"http://user:secret@127.0.0.1:{unused_port}/v1?q=secret"
        async with Endpoint(url, None, Pace(stopped), timeout=30, tries=2) as endpoint:
            assert endpoint.name == f"http://127.0.0.1:{unused_port}/v1/"
            with pytest.raises(Unanswered, match="connect") as caught:
                await endpoint.ask(BODY)
            assert "secret" not in str(caught.value)

    asyncio.run(ask_once())
