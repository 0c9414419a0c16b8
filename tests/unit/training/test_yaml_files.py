import pytest

from training.yaml_files import parse_yaml


def test_yaml_reads_as_it_does() -> None:
    text = "{a: &x {b: 1, c: [1, 2.5, 'no', null]}, d: {<<: *x, b: 2}, e: 5.0e-5}"
    inner = {"b": 1, "c": [1, 2.5, "no", None]}
    assert parse_yaml(text) == {"a": inner, "d": inner | {"b": 2}, "e": 5e-5}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: {c: 1, c: 1}", "line 2, column 11: the key 'c' stands twice"),
        ("- a: 1\n  'a': 2", "line 2, column 3: the key 'a' stands twice"),
        ("a: [1\nb: 2", "line 2, column 2: expected ',' or ']', but got ':'"),
        ("a: 2024-13-45", "month must be in 1..12"),
    ],
)
def test_what_is_no_yaml(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
        parse_yaml(text)
    assert str(error.value) == problem
