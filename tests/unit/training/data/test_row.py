import pytest

from training.data.row import DataError, label_of, text_of, texts_of


def test_texts_are_stripped() -> None:
    assert text_of(" a ", "x", "here") == "a"
    assert texts_of([" a", "b "], "x", "here") == ["a", "b"]
    assert label_of(" a ", "x", ["a", "b"], "here") == "a"


@pytest.mark.parametrize("value", [None, 3, "", " \n", ["a"], {"a": "b"}])
def test_what_is_no_text_is_named(value: object) -> None:
    with pytest.raises(DataError, match=r'f\.csv, line 3: expected a non-empty text under "why"'):
        text_of(value, "why", "f.csv, line 3")


@pytest.mark.parametrize(
    ("value", "flaw"), [("a \ud800", "half of a surrogate pair"), ("a\0", "a NUL character")]
)
def test_what_no_text_may_hold_is_named(value: str, flaw: str) -> None:
    with pytest.raises(
        DataError, match=f'^here: expected a non-empty text under "why", found {flaw}'
    ):
        text_of(value, "why", "here")


def test_a_label_is_one_of_the_labels() -> None:
    with pytest.raises(DataError, match="line 3: the label 'nib' is not one of pen, ink"):
        label_of("nib", "label", ["pen", "ink"], "line 3")
