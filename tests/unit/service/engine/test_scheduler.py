import threading
from queue import SimpleQueue

import numpy as np
import pytest

from service.engine.label_sequence import LabelSequence
from service.engine.scheduler import ENCODED_TOKENS, Scheduler
from service.engine.sequence import EngineRequest
from service.engine.text_sequence import TextSequence
from service.errors import EngineUnavailable
from tests.support.bundles import reference
from tests.support.label_tries import trie_of
from tests.support.stepped_runner import TIMEOUT, SteppedRunner, writing
from tests.support.tiny_students import Student, problems


def test_sequences_join_and_leave_between_steps(
    scheduler: Scheduler, runner: SteppedRunner, student: Student
) -> None:
    """Five requests in three slots: each text is transformers' own, and no slot stays empty."""
    texts = problems(5)
    requests = []
    for text in texts:
        prompt = student.tokenizer("predict: " + text)["input_ids"]
        requests.append(EngineRequest([TextSequence(prompt, 12)]))
        scheduler.submit(requests[-1])
    runner.release()
    for text, done in zip(texts, requests, strict=True):
        assert done.future.result(TIMEOUT) is done
        expected = reference(student, text).label
        assert done.sequences[0].tokens == expected.tokens
        assert done.sequences[0].logprob == pytest.approx(expected.logprob, abs=1e-3)
        assert done.submitted <= done.admitted <= done.sequences[0].finished
    assert max(runner.rows) == 3
    assert sum(runner.rows) == sum(len(done.sequences[0].tokens) for done in requests)


def test_a_request_is_done_when_all_its_sequences_are(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    both = writing(1, 3)
    scheduler.submit(both)
    runner.allowed.release(2)
    for _ in range(3):
        runner.wait_for_step()
    assert runner.rows == [2, 1, 1]
    assert not both.future.done()
    runner.allowed.release()
    both.future.result(TIMEOUT)
    assert [len(sequence.tokens) for sequence in both.sequences] == [1, 3]


def test_a_cancelled_request_leaves_before_the_next_step(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    gone, stays = writing(40, 40), writing(4)
    scheduler.submit(gone)
    runner.wait_for_step()
    runner.hold_encodings()
    scheduler.submit(stays)
    runner.allowed.release()
    runner.wait_for_step()
    runner.finish_encodings(scheduler)
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows == [2, 2, 3]
    assert gone.future.cancel()
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows[-1] == 1
    runner.allowed.release(10)
    assert len(stays.future.result(TIMEOUT).sequences[0].tokens) == 4


def test_a_request_cancelled_while_it_waits_never_runs(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    first, gone, last = writing(2, 2, 2), writing(2, 2, 2), writing(2)
    for each in (first, gone, last):
        scheduler.submit(each)
    runner.wait_for_step()
    gone.future.cancel()
    runner.allowed.release(10)
    last.future.result(TIMEOUT)
    assert runner.rows == [3, 3, 1, 1]


def test_a_label_among_long_rationales_takes_its_own_steps(runner: SteppedRunner) -> None:
    """Scored or generated, it does not wait for them, and they do not wait for it."""
    scheduler = Scheduler(runner, max_rows=32)
    rationales = [writing(48) for _ in range(31)]
    scheduler.submit(rationales[0])
    runner.wait_for_step()
    runner.hold_encodings()
    for rationale in rationales[1:]:
        scheduler.submit(rationale)
    runner.allowed.release()
    runner.wait_for_step()
    runner.finish_encodings(scheduler)
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows == [1, 1, 31]

    labels = LabelSequence([5, 6, 1], trie_of([[5, 6, 1], [7, 1]]))
    scored, generated = EngineRequest([labels]), writing(5)
    runner.hold_encodings()
    scheduler.submit(scored)
    scheduler.submit(generated)
    runner.allowed.release()
    runner.wait_for_step()
    runner.finish_encodings(scheduler)
    runner.allowed.release(2)  # this step, and that of the scored label
    scored.future.result(TIMEOUT)
    assert scored.steps == 1
    runner.allowed.release(5)
    generated.future.result(TIMEOUT)
    assert generated.steps == len(generated.sequences[0].tokens) <= 5
    assert runner.rows[3:5] == [31, 1]
    assert runner.rows[5:][: generated.steps] == [32] * generated.steps

    runner.release()
    for rationale in rationales:
        rationale.future.result(TIMEOUT)
        assert rationale.steps == len(rationale.sequences[0].tokens)
    scheduler.close()


@pytest.mark.parametrize(
    ("texts", "labels", "shares"),
    [
        (1, [[5, 1]], True),
        (1, [[i, 1] for i in range(5, 9)], True),  # 8 nodes
        (1, [[i, 1] for i in range(5, 10)], False),
        (2, [[5, 1], [6, 1]], True),
        (2, [[5, 1], [6, 1], [7, 1]], False),
        (3, [[5, 1]], False),  # no slot is left
        (0, [[5, 1]], False),
    ],
)
def test_a_few_labels_share_the_step_of_few_texts(
    scheduler: Scheduler,
    runner: SteppedRunner,
    texts: int,
    labels: list[list[int]],
    shares: bool,
) -> None:
    """With their scores as without, to the last bit, and in one step either way."""
    alone = EngineRequest([LabelSequence([5, 6, 1], trie_of(labels))])
    scheduler.submit(alone)
    runner.allowed.release()
    alone.future.result(TIMEOUT)
    together = EngineRequest(
        [
            LabelSequence([5, 6, 1], trie_of(labels)),
            *(TextSequence([7, 8 + i, 1], 4) for i in range(texts)),
        ]
    )
    scheduler.submit(together)
    runner.release()
    together.future.result(TIMEOUT)
    steps = max((len(text.tokens) for text in together.sequences[1:]), default=0)
    assert runner.rows[1] == (1 + texts if shares else 1)
    assert together.steps == steps + (not shares)
    assert together.sequences[0].logprobs == alone.sequences[0].logprobs


def test_a_large_label_set_never_shares(scheduler: Scheduler, runner: SteppedRunner) -> None:
    labels = [[i, j, 1] for i in range(5, 25) for j in range(5, 10)]
    both = EngineRequest([LabelSequence([5, 6, 1], trie_of(labels)), TextSequence([7, 8, 1], 4)])
    scheduler.submit(both)
    runner.release()
    both.future.result(TIMEOUT)
    assert set(runner.rows) == {1}


def test_a_newcomer_is_encoded_beside_a_step(scheduler: Scheduler, runner: SteppedRunner) -> None:
    scheduler.submit(writing(3))
    runner.wait_for_step()
    runner.hold_encodings()
    scheduler.submit(writing(3))
    runner.allowed.release()
    runner.wait_for_step()  # and it is not over before the newcomer is encoded:
    runner.finish_encodings(scheduler)
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows == [1, 1, 2]


@pytest.mark.parametrize("tokens", [ENCODED_TOKENS // 2, ENCODED_TOKENS * 2])
def test_the_first_step_does_not_wait_for_many_prompts(
    scheduler: Scheduler, runner: SteppedRunner, tokens: int
) -> None:
    """But it does for as many as ENCODED_TOKENS, or for one."""
    awaited = max(1, ENCODED_TOKENS // tokens)
    runner.hold_encodings(after=awaited)
    three = writing(4, 4, 4, prompt=(*[5] * (tokens - 1), 1))
    scheduler.submit(three)
    runner.wait_for_step()
    assert runner.rows == [awaited]
    runner.finish_encodings(scheduler)
    runner.allowed.release()
    runner.wait_for_step()
    assert runner.rows[-1] == 3
    runner.release()
    three.future.result(TIMEOUT)


def test_requests_cancelled_while_they_wait_are_forgotten(
    scheduler: Scheduler, runner: SteppedRunner
) -> None:
    scheduler.submit(writing(48, 48, 48))
    runner.wait_for_step()
    gone = [writing(2) for _ in range(100)]
    for each in gone:
        scheduler.submit(each)
        each.future.cancel()
    runner.allowed.release()
    runner.wait_for_step()
    assert not any(pool.waiting for pool in scheduler._pools)


def test_the_prompts_of_a_cancelled_request_are_not_encoded_for_nobody(
    scheduler: Scheduler, runner: SteppedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, encode = SimpleQueue[list[int]](), runner.encode

    def record(ids: list[int]) -> dict[str, np.ndarray]:
        begun.put(ids)
        return encode(ids)

    monkeypatch.setattr(runner, "encode", record)
    stays, gone = writing(4), EngineRequest([TextSequence([5, 7 + i, 1], 4) for i in range(2)])
    scheduler.submit(stays)
    runner.wait_for_step()
    assert begun.get(timeout=TIMEOUT) == [5, 6, 1]
    runner.hold_encodings()
    scheduler.submit(gone)
    runner.allowed.release()
    runner.wait_for_step()  # beside it the first of two prompts is encoded
    assert begun.get(timeout=TIMEOUT) == [5, 7, 1]
    gone.future.cancel()
    runner.allowed.release()
    runner.wait_for_step()
    runner.finish_encodings(scheduler)
    runner.release()
    stays.future.result(TIMEOUT)
    last = writing(1)
    scheduler.submit(last)
    last.future.result(TIMEOUT)
    assert begun.get(timeout=TIMEOUT) == [5, 6, 1]
    assert begun.empty()


def test_close_fails_what_is_not_finished(scheduler: Scheduler, runner: SteppedRunner) -> None:
    running, waiting = writing(9, 9, 9), writing(9)
    scheduler.submit(running)
    runner.wait_for_step()
    scheduler.submit(waiting)
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    runner.allowed.release(10)
    closing.join(TIMEOUT)
    for unfinished in (running, waiting):
        with pytest.raises(EngineUnavailable, match="stopped"):
            unfinished.future.result(TIMEOUT)
    assert not scheduler.alive
    with pytest.raises(EngineUnavailable, match="stopped"):
        scheduler.submit(writing(1))


def test_a_dying_thread_leaves_nobody_waiting(scheduler: Scheduler, runner: SteppedRunner) -> None:
    running, waiting = writing(9, 9, 9), writing(9)
    scheduler.submit(running)
    runner.wait_for_step()
    scheduler.submit(waiting)
    runner.fault = SystemExit()  # not an Exception: nothing that a step could survive
    runner.allowed.release()
    for unfinished in (running, waiting):
        with pytest.raises(EngineUnavailable, match="stopped"):
            unfinished.future.result(TIMEOUT)
    with pytest.raises(EngineUnavailable, match="stopped"):
        scheduler.submit(writing(1))
