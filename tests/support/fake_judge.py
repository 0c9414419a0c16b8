"""A judge of rationales, for tests: an endpoint of chat completions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support import fake_openai
from tests.support.fake_openai import Chat, chatting

Reply = tuple[int, str]  # status and text


def said(content: str) -> Reply:
    return 200, fake_openai.said(content).text


class Judge(Chat):
    """An endpoint that grades."""

    def asked(self) -> list[str]:
        """The rationales that the judge was asked about."""
        return [
            body["messages"][1]["content"].split("<reasoning>\n")[1].split("\n</reasoning>")[0]
            for body in self.requests
        ]


@contextmanager
def judging(reply: Callable[[dict[str, Any], int], Reply]) -> Iterator[Judge]:
    """A judge. `reply` gets a request's body and the number of requests before it."""

    def respond(body: dict[str, Any], number: int) -> fake_openai.Reply:
        return fake_openai.Reply(*reply(body, number), headers={"retry-after-ms": "1"})

    with chatting(respond, Judge) as judge:
        yield judge
