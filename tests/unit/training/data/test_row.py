import pytest

from training.data.row import DataError, Report, label_of, text_of, texts_of


def test_texts_are_stripped() -> None:
    assert text_of(" a ", "x", "here") == "a"
    assert texts_of([" a", "b "], "x", "here") == ["a", "b"]
    assert label_of(" a ", "x", ["a", "b"], "here") == "a"


@pytest.mark.parametrize("value", [None, 3, "", " \n", ["a"], {"a": "b"}])
def test_what_is_no_text_is_named(value: object) -> None:
    with pytest.raises(DataError, match=r'f\.csv, line 3: expected a non-empty text under "why"'):
        text_of(value, "why", "f.csv, line 3")


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(DataError, match="half of a surrogate pair"):
        text_of("a \ud800", "why", "here")


def test_a_label_is_one_of_the_labels() -> None:
    with pytest.raises(DataError, match="line 3: the label 'nib' is not one of pen, ink"):
        label_of("nib", "label", ["pen", "ink"], "line 3")


def test_a_report_counts_reasons_and_tells_where_the_first_is() -> None:
    report = Report("rows.csv", read=9, without_rationale=2)
    report.drop("duplicate input", "rows.csv, line 4")
    report.drop("duplicate input", "rows.csv, line 8")
    report.note("too long", "other.csv, line 1")
    assert str(report) == (
        "rows.csv: 9 rows, 2 dropped, 2 without a rationale; "
        "2 × duplicate input (first: line 4); 1 × too long (first: other.csv, line 1)"
    )
