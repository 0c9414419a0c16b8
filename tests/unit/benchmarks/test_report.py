import pytest

from tests.benchmarks.comparison import Comparison, equal_texts
from tests.benchmarks.report import Report, comparison_table
from tests.benchmarks.work import Answers

SECONDS = {"transformers": 0.4, "CTranslate2 int8": 0.06, "Duet fp32": 0.03, "Duet int8": 0.02}


def comparison() -> Comparison:
    ways = dict.fromkeys(SECONDS, "generate")
    return Comparison("label", SECONDS, ways, dict.fromkeys(SECONDS, (1, 1)))


def test_the_fastest_peer_is_held_against_the_fastest_of_ours() -> None:
    one = comparison()
    assert (one.best_peer, one.best_of_ours) == ("CTranslate2 int8", "Duet int8")
    assert one.ratio == pytest.approx(3)
    assert comparison_table([one]).splitlines() == [
        "| ms | transformers | CTranslate2 int8 | Duet fp32 | Duet int8 | fastest peer / Duet |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| label | 400 | **60.0** | 30.0 | **20.0** | 3.00× |",
    ]


def test_texts_are_compared_with_the_first_that_there_are() -> None:
    answers = {
        "reference": Answers([], ["a b", "c d"], [2, 2]),  # labels written freely
        "other": Answers(["yes", "no"], ["a b", "c e"], [2, 2]),
        "ours": Answers(["yes", "yes"], ["a b", "c d"], [2, 2]),
    }
    assert equal_texts(answers) == {"reference": (2, 2), "other": (3, 4), "ours": (3, 4)}


def test_targets_hold_or_do_not() -> None:
    report = Report("machine")
    report.aim("faster", 3.456, least=2.5)
    report.aim("slower", 2.5, least=2.6)
    report.aim("late", 1.5, most=1, unit=" ms")
    assert report.summary() == "machine"
    assert "**Aims**\n\n| what | aim" in report.summary_with_aims()
    assert report.markdown().splitlines()[-7:] == [
        "## Aims",
        "",
        "| what | aim | measured | held |",
        "| --- | ---: | ---: | ---: |",
        "| faster | at least 2.5× | 3.46× | yes |",
        "| slower | at least 2.6× | 2.50× | **no** |",
        "| late | at most 1 ms | 1.50 ms | **no** |",
    ]


def test_the_summary_leaves_details_out() -> None:
    report = Report("machine")
    report.add("one", ["shown"], ["detail", "more"])
    report.add("two", [], ["hidden"])
    assert report.summary() == "machine\n\n**one**\n\nshown"
    assert "## one\n\nshown\n\ndetail\n\nmore\n\n## two\n\nhidden\n\n## Aims" in report.markdown()
