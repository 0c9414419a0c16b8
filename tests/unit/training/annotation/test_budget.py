import asyncio

import pytest

from training.annotation.answer_store import Spent
from training.annotation.budget import Budget, BudgetReached, Prices
from training.annotation.completion import Completion
from training.annotation.tokens import most_tokens

BODY = {"messages": [{"role": "user", "content": "a" * 100}], "max_tokens": 50}
BYTES, LIMIT = most_tokens(BODY)
PRICES = Prices(input=1.0, output=4.0)
MOST = PRICES.cost(BYTES, LIMIT)  # of one request


def test_the_cost_is_of_a_million_tokens() -> None:
    spent = Spent()
    spent.add(Completion("So.", input_tokens=1_000_000, output_tokens=500_000))
    assert Budget(spent, PRICES, None).cost == 3.0
    assert Budget(spent, None, None).cost is None


def test_no_more_requests_are_under_way_than_can_be_paid_for() -> None:
    spent = Spent()
    now = most = 0

    async def ask(budget: Budget) -> None:
        nonlocal now, most
        async with budget.reserved(BODY):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            spent.add(Completion("So.", input_tokens=1, output_tokens=1))
            now -= 1

    async def ask_all() -> None:
        budget = Budget(spent, PRICES, 3.5 * MOST)
        await asyncio.gather(*(ask(budget) for _ in range(20)))

    asyncio.run(ask_all())
    assert most == 3
    assert spent.requests == 20  # which cost much less than they might have


def test_the_cap_is_never_passed_and_ends_it() -> None:
    spent = Spent()

    async def ask(budget: Budget) -> bool:
        try:
            async with budget.reserved(BODY):
                await asyncio.sleep(0)
                spent.add(Completion("So.", input_tokens=BYTES, output_tokens=LIMIT))
        except BudgetReached:
            return False
        return True

    async def ask_all() -> list[bool]:
        budget = Budget(spent, PRICES, 4.5 * MOST)
        return await asyncio.gather(*(ask(budget) for _ in range(20)))

    answered = asyncio.run(ask_all())
    assert sum(answered) == spent.requests == 4
    assert Budget(spent, PRICES, None).cost == pytest.approx(4 * MOST)


def test_a_request_that_fails_gives_back_what_it_held() -> None:
    async def fail(budget: Budget) -> None:
        async with budget.reserved(BODY):
            raise TimeoutError

    async def ask_twice() -> None:
        budget = Budget(Spent(), PRICES, 1.5 * MOST)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await fail(budget)

    asyncio.run(ask_twice())


def test_without_a_cap_nobody_waits() -> None:
    async def ask_all(budget: Budget) -> None:
        async with budget.reserved(BODY), budget.reserved(BODY), budget.reserved(BODY):
            pass

    asyncio.run(ask_all(Budget(Spent(), PRICES, None)))
    asyncio.run(ask_all(Budget(Spent(), None, None)))
