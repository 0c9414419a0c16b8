import pytest

from tasks.operand_order import comparison, in_counting_order, statement_in_counting_order


@pytest.mark.parametrize(
    ("equation", "ordered"),
    [
        ("( 3.0 - 5.0 )", "( 5.0 - 3.0 )"),
        ("3 - 5", "( 5 - 3 )"),
        ("( 2.0 / 6.0 )", "( 6.0 / 2.0 )"),
        ("( 3.0 + ( 5.0 - 30.0 ) )", "( 3.0 + ( 30.0 - 5.0 ) )"),
        ("( ( 2.0 / 6.0 ) - 9.0 )", "( 9.0 - ( 6.0 / 2.0 ) )"),
        ("( ( 3.0 - 5.0 ) / ( 4.0 * 2.0 ) )", "( ( 4.0 * 2.0 ) / ( 5.0 - 3.0 ) )"),
    ],
)
def test_what_could_not_count_things_is_turned_round(equation: str, ordered: str) -> None:
    assert in_counting_order(equation) == ordered
    assert in_counting_order(ordered) == ordered


@pytest.mark.parametrize(
    "equation",
    [
        "( 5.0 - 3.0 )",
        "( 5.0 - 5.0 )",
        "( 7.0 / 2.0 )",  # broken either way
        "( 2.0 / 7.0 )",
        "( 6.0 / 2.0 )",
        "( 0.0 / 6.0 )",
        "( 6.0 / 0.0 )",
        "3.0+5.0",
        "84.0",
        "( n5 - 3.0 )",
        "( 3.0 - 5.0",
        "( 2.0 ** 3.0 )",
        "addition",
        "",
        "(" * 5000,
    ],
)
def test_the_rest_stays(equation: str) -> None:
    assert in_counting_order(equation) == equation


@pytest.mark.parametrize(
    ("text", "ordered"),
    [
        ("So 3 - 5 = ", "So 5 - 3 = "),
        ("So 3 - 5 =", "So 5 - 3 ="),
        ("3 / 1,200 = ", "1,200 / 3 = "),
        ("So 5 - 3 = ", "So 5 - 3 = "),
        ("9 - 3 - 5 = ", "9 - 3 - 5 = "),
        ("1 + 3 - 5 = ", "1 + 3 - 5 = "),
        ("1.2.3 - 5 = ", "1.2.3 - 5 = "),
        ("So 3 - 5", "So 3 - 5"),
        ("", ""),
    ],
)
def test_a_statement_of_two_numbers_is_turned_round(text: str, ordered: str) -> None:
    assert statement_in_counting_order(text) == ordered


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([15, 5, 15, 30], "( n1 n0 = n2 n3 , n0 / n1 , n2 / n1 , n3 / n0 , n3 / n1 , n3 / n2 )"),
        ([7, 5], "( n1 n0 )"),
        ([0, 1, 4], "( n0 n1 n2 )"),  # 1 divides all, and 0 is a multiple of all
        ([7.5, 2.5], "( n1 n0 , n0 / n1 )"),
        ([5, 5], "( n0 = n1 )"),
        ([3], ""),
        ([], ""),
        (
            range(2, 10),
            "( n0 n1 n2 n3 n4 n5 n6 n7 , n2 / n0 , n4 / n0 , n4 / n1 , n6 / n0 , "
            "n6 / n2 , n7 / n1 )",
        ),
        (range(2, 11), ""),  # too many
    ],
)
def test_how_numbers_compare(values: list[float], said: str) -> None:
    assert comparison({f"n{place}": value for place, value in enumerate(values)}) == said
