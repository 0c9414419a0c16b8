import pytest

from training.evaluation.arithmetic import number_words_in, numbers_in, read_arithmetic


def stated(text: str) -> list[tuple[str, bool]]:
    return [(one.text, one.true) for one in read_arithmetic(text)[1]]


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("So 3 + 4 = 7.", [("3 + 4 = 7", True)]),
        ("So 3 + 4 = 8.", [("3 + 4 = 8", False)]),
        ("10 * 45 is 450. 6 - 2 equals 3", [("10 * 45 = 450", True), ("6 - 2 = 3", False)]),
        ("7 = 3 + 4", [("7 = 3 + 4", True)]),
        ("10 - (3 + 6) = 10 - 9 = 1", [("10 - ( 3 + 6 ) = 10 - 9", True), ("10 - 9 = 1", True)]),
        ("(he has 3 + 4) = 7", [("3 + 4 = 7", True)]),
        ("5 apples + 3 apples = 8 apples", [("5 + 3 = 8", True)]),
        ("$460 / 5 = $92 each", [("460 / 5 = 92", True)]),
        ("466 * 53 = 24,698 pots", [("466 * 53 = 24698", True)]),
        (
            "3 × 4 = 12, 12 ÷ 4 = 3, 5 − 1 = 4",
            [("3 * 4 = 12", True), ("12 / 4 = 3", True), ("5 - 1 = 4", True)],
        ),
        ("3 x 4 = 12 and 3 times 4 is 13", [("3 * 4 = 12", True), ("3 * 4 = 13", False)]),
        ("10 - 11 = -1", [("10 - 11 = - 1", True)]),
        ("he had -1 + 10 = 9", [("- 1 + 10 = 9", True)]),
        ("45 - (-1) = 46", [("45 - ( - 1 ) = 46", True)]),
        # rounded where decimals say so, and only then
        ("10 / 3 = 3.33", [("10 / 3 = 3.33", True)]),
        ("10 / 3 = 3.34", [("10 / 3 = 3.34", False)]),
        ("7 / 2 = 4", [("7 / 2 = 4", False)]),
        ("1 - 2.5 = 1.5", [("1 - 2.5 = 1.5", False)]),
        # an unknown has no value
        ("7 * x = 14, so x = 14 / 7 = 2", [("14 / 7 = 2", True)]),
        ("some - 7 + 2 = 10", []),
        ("54 - some = 30", []),
        ("3 / 0 = 3", []),
        ("there are 3. 4 is more. x = 5", []),
        ("a 12-year-old in 2016-17 wore 56 t - shirts", []),
    ],
)
def test_statements_and_whether_they_are_true(
    text: str, statements: list[tuple[str, bool]]
) -> None:
    assert stated(text) == statements


def test_expressions_have_the_values_of_their_parts() -> None:
    (one,) = read_arithmetic("He has 2 * (3 + 4) apples left.")[0]
    assert (one.text, one.value) == ("2 * ( 3 + 4 )", 14)
    assert sorted(one.values) == [7, 14]
    assert [one.value for one in read_arithmetic("in 2012 10 + 4, and 5 - 1")[0]] == [14, 4]


def test_numbers_stand_alone() -> None:
    found = numbers_in("He paid $1,250.50 for 3 of the 2nd kind, v1.2 or 4x, in 1990s, -7, 8.")
    assert [one.value for one in found] == [1250.5, 3, 7, 8]
    assert number_words_in("Three of the twenty, not fourty") == {3, 20}


def test_long_nonsense_is_read_too() -> None:
    assert stated("(" * 20_000 + "1 + " * 20_000 + "- " * 20_000) == []
    assert stated("1 = " * 5_000) == []
