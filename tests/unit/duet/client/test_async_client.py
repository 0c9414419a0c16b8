"""What only tasks do."""

import asyncio

from fastapi import FastAPI

from duet.client import Answer, AsyncClient
from tests.support.bundles import reference
from tests.support.server_process import admission_of, serve_here, wait_until
from tests.support.stepped_runner import SteppedRunner
from tests.support.tiny_students import Student, problems

TEXTS = problems(3)


def test_a_cancelled_task_ends_the_work(
    stepped_app: FastAPI, runner: SteppedRunner, student: Student
) -> None:
    """In a prediction, and in a stream."""
    label = reference(student, TEXTS[0]).label
    admission = admission_of(stepped_app)

    async def follow(duet: AsyncClient, begun: asyncio.Event) -> None:
        async for _ in duet.stream(TEXTS[0], explain=True):
            begun.set()

    async def run(url: str) -> None:
        async with AsyncClient(url) as duet:
            asking = asyncio.create_task(duet.predict(TEXTS[0]))
            await asyncio.to_thread(wait_until, lambda: admission.inputs == 1)
            asking.cancel()
            await asyncio.to_thread(wait_until, lambda: not admission.inputs)
            runner.allowed.release()  # the step that the prediction was in
            begun = asyncio.Event()
            following = asyncio.create_task(follow(duet, begun))
            runner.allowed.release(len(label.tokens))
            await begun.wait()
            following.cancel()
            await asyncio.to_thread(wait_until, lambda: not admission.inputs)
            runner.release()
            assert (await duet.predict(TEXTS[0])).label == label.text
        assert asking.cancelled()
        assert following.cancelled()

    with serve_here(stepped_app) as (host, port):
        asyncio.run(run(f"http://{host}:{port}"))


def test_many_tasks_share_a_client(app: FastAPI, student: Student) -> None:
    async def run(url: str) -> list[Answer]:
        async with AsyncClient(url) as duet:
            return await asyncio.gather(*[duet.predict(text) for text in TEXTS * 50])

    with serve_here(app) as (host, port):
        answers = asyncio.run(run(f"http://{host}:{port}"))
    expected = [reference(student, text).label.text for text in TEXTS]
    assert [answer.label for answer in answers] == expected * 50
