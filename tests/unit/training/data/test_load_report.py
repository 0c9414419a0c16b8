from training.data.load_report import LoadReport


def test_a_report_counts_reasons_and_tells_where_the_first_is() -> None:
    report = LoadReport("rows.csv", read=9, without_rationale=2)
    report.drop("duplicate input", "rows.csv, line 4")
    report.drop("duplicate input", "rows.csv, line 8")
    report.note("too long", "other.csv, line 1")
    assert str(report) == (
        "rows.csv: 9 rows, 2 dropped, 2 without a rationale; "
        "2 × duplicate input (first: line 4); 1 × too long (first: other.csv, line 1)"
    )
