import ast

import pytest

from tasks.equations import (
    equation_tree,
    evaluate_equation,
    infix,
    operations,
    value_of,
    value_stated,
    written,
)


@pytest.mark.parametrize(
    ("equation", "value"),
    [
        ("( 84.0 / 2.0 )", 42.0),
        ("( ( 3.0 + 4.0 ) * 2.0 )", 14.0),
        ("( ( 17.0 + 15.0 ) + 2.0 )", 34.0),
        ("(16 * 17) * 4", 1088.0),
        (" 0.5 * 3 ", 1.5),
        ("1 - -2", 3.0),
        ("7", 7.0),
        ("2 - 3 - 4", -5.0),
        ("9" * 256, 1e256),
        ("9*" * 127 + "9", 9.0**128),
        ("(" * 120 + "1" + ")" * 120, 1.0),
        ("-" * 255 + "1", -1.0),
    ],
)
def test_equations_have_their_value(equation: str, value: float) -> None:
    assert evaluate_equation(equation) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "()",
        "...",
        "( 84.0 / 0.0 )",
        "( 84.0 / 2.0",
        "1 2",
        "1(2)",
        "2 ** 9",
        "2 ** 9999999",
        "7 // 2",
        "(some - 8)",
        "abs(1)",
        "__import__('os').getcwd()",
        "'a' * 9999999999",
        "[1, 2]",
        "10 < 20",
        "(1 + 2) and (3 + 4)",
        "(175, 5)",
        "1e5",
        "1e308 * 10",
        "9" * 257,
        "(" * 300 + "1" + ")" * 300,
        "1" + "+1" * 128,
        "1 + 1\n",
        "\u0661 + 1",
        "'3'",
        "True",
        "\x00",
        "\ud800",
    ],
)
def test_what_is_no_equation_has_no_value(text: str) -> None:
    assert evaluate_equation(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("So 3 + 4 = ", 7.0),
        ("10-6=", 4.0),
        ("Ann had 3. 4 + 5 =", 9.0),
        ("From 3, 4 and 5: 4 + 5 = ", 9.0),
        ("( 3 + 4 ) * 2 = ", 14.0),
        ("2 * 3 = 6 - 1 = ", 5.0),
        ("1,200 + 50 = ", 1250.0),
        ("$ 5 * 3 = $ ", 15.0),
        ("007 + 1.50 = ", 8.5),
        ("4 - 16 = ", -12.0),
        ("4 - 16 = -", 12.0),  # after the minus
        ("some - 3 + 4 = ", None),
        ("2 ** 3 + 4 = ", None),
        ("n9 - 3 + 4 = ", None),
        ("n9. 3 + 4 = ", 7.0),
        ("3 + 4 is ", None),
        ("3 + 4 = 7", None),
        ("7 = ", None),
        ("x + 4 = ", None),
        ("5 / 0 = ", None),
        ("3 apples + 4 = ", None),
        ("999999999 * 9999999 = ", None),  # more than a float tells apart
        ("= ", None),
        ("", None),
    ],
)
def test_the_value_that_an_expression_states(text: str, value: float | None) -> None:
    assert value_stated(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42.0, "42"),
        (-12.0, "-12"),
        (0.0, "0"),
        (2.5, "2.5"),
        (1.1 + 2.2, "3.3"),
        (10 / 3, "3.33"),
        (2.999, "3.00"),  # an integer would not be true
        (1 / 30, "0.033"),
        (0.05, "0.05"),
        (123456789.0, "123456789"),
    ],
)
def test_values_are_written_as_people_do(value: float, text: str) -> None:
    assert written(value) == text


def test_the_tree_of_an_equation_has_operations_and_names() -> None:
    tree = equation_tree(" ( a + 3 ) * b - -2.5 ")
    parts = [ast.unparse(part) for part in operations(tree)]
    assert parts == ["a + 3", "(a + 3) * b", "(a + 3) * b - -2.5"]
    assert value_of(tree, {"a": 1, "b": 2}) == 10.5
    assert infix(tree, ast.unparse) == "( ( ( a + 3 ) * b ) - -2.5 )"
    assert value_of(equation_tree("7")) == 7.0
    assert operations(equation_tree("7")) == []


@pytest.mark.parametrize(
    "text", ["", "a **", "a ** b", "7 // 2", "a < b", "f(1)", "a.b", "True", "1j", "'3'", "~1"]
)
def test_what_is_no_equation_has_no_tree(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an equation of \+ - \* /"):
        equation_tree(text)


@pytest.mark.parametrize("text", ["1 / 0", "a + 1", "1 / ( 2 - 2 )"])
def test_a_tree_without_a_value(text: str) -> None:
    with pytest.raises(ValueError, match="has no value"):
        value_of(equation_tree(text))
