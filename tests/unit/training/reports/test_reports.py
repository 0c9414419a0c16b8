import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tasks.task import Task
from tests.support.command_errors import complaint_of
from tests.support.made_up_reports import HOSTILE, LABELS, write_report
from training.evaluate import main
from training.evaluation.estimate import Estimate
from training.reports.markdown import as_fenced, as_plain
from training.reports.report import ReportError, read_evaluation

Tables = list[list[list[str]]]


class Page(HTMLParser):
    """The tables of a page, and the tags that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: Tables = []
        self.tags: set[str] = set()
        self.text: list[str] = []
        self._cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append("".join(self._cell))
            self._cell = None

    def handle_data(self, data: str) -> None:
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        self.text.append(data)
        if self._cell is not None:
            self._cell.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    for seed, name in enumerate("ab"):
        write_report(folder / name, seed)
    assert main(["--compare", f"{folder}/a", f"{folder}/b", "--out", f"{folder}/both"]) == 0
    return folder


def shown(path: Path) -> Page:
    return Page(path.with_suffix(".html").read_text(encoding="utf-8"))


def in_markdown(path: Path) -> Page:
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


def row(page: Page, name: str) -> list[str]:
    """The first row of that name."""
    return next(row[1:] for table in page.tables for row in table if row[0] == name)


def percents(*values: float | None) -> list[str]:
    return ["–" if value is None else f"{100 * value:.1f} %" for value in values]


def with_interval(found: Estimate) -> list[str]:
    value, low, high = percents(found.value, found.low, found.high)
    return [value, f"{low} … {high}"]


@pytest.mark.parametrize("read", [shown, in_markdown])
def test_the_figures_are_those_that_were_measured(
    read: Callable[[Path], Page], folder: Path
) -> None:
    page, report = read(folder / "a" / "report"), read_evaluation(folder / "a")
    found = report.evaluation
    assert row(page, "right, as the task judges") == with_interval(found.accuracy.right)
    assert row(page, "the very text of the gold label") == with_interval(found.accuracy.exact)
    assert found.accuracy.classes is not None
    for score in found.accuracy.classes.scores:
        cells = row(page, score.label if read is shown else " ".join(score.label.split()))
        assert cells[:3] == percents(score.precision, score.recall, score.f1)
        assert cells[3:] == [str(score.support), str(score.predicted)]
    assert found.calibrated is not None
    columns = [found.calibration, found.calibrated]
    assert row(page, "mean confidence") == percents(*(one.confidence for one in columns))
    for name, key in {
        "ECE, 15 bins of equal width": "ece",
        "NLL of being right, nats": "nll",
    }.items():
        assert row(page, name) == [f"{getattr(one, key):.3f}" for one in columns]
    assert row(page, "right among the surest 80 %") == percents(
        *(one.selective.accuracy_at_80 for one in columns)
    )
    agrees = found.rationales.measures["agrees"]
    assert row(page, "conclusions that agree with the model's own label") == [
        *percents(agrees.value),
        str(agrees.count),
    ]
    assert found.rationales.overlap is not None
    assert row(page, "chrF, of 100") == [f"{found.rationales.overlap.chrf:.1f}"]
    correlation = found.rationales.correlations["chrf"].point_biserial
    assert correlation.value is not None
    shown_value = float(row(page, "chrF with the row's own")[3].replace("−", "-"))
    assert shown_value == pytest.approx(correlation.value, abs=0.005)
    matrix = next(table for table in page.tables if len(table[0]) == len(LABELS) + 1)
    assert [[*map(int, line[1:])] for line in matrix[1:]] == found.accuracy.classes.confusion
    (value,) = percents(found.accuracy.right.value)
    assert f"The model is right on {value} of 90 rows (95 % interval " in "".join(page.text)
    assert found.accuracy.truncated == 18
    longer = "18 of the 90 rows were too long for the model and lost their end. It is right on"
    assert f"{longer} {found.accuracy.truncated_right} of them" in "".join(page.text)
    assert row(page, "data, sha256") == ["ab" * 32]
    assert row(page, "version of python")


def test_the_json_holds_all(tmp_path: Path) -> None:
    report = write_report(tmp_path)
    assert read_evaluation(tmp_path) == report
    content = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert content == json.loads(json.dumps(asdict(report), default=Task.model_dump))


@pytest.mark.parametrize("read", [shown, in_markdown])
@pytest.mark.parametrize("name", ["a/report", "both/comparison"])
def test_text_of_rows_is_text(name: str, read: Callable[[Path], Page], folder: Path) -> None:
    page = read(folder / name)
    assert page.tags.isdisjoint({"script", "img", "a", "h4"})
    assert page.text.count("\n") > 0
    text = "".join(page.text)
    assert HOSTILE in text
    assert " ".join(HOSTILE.split()) in " ".join(text.split())
    assert row(page, "command") != []


def test_a_comparison(folder: Path) -> None:
    content = json.loads((folder / "both" / "comparison.json").read_text())
    found = content["comparison"]
    for page in (shown(folder / "both/comparison"), in_markdown(folder / "both/comparison")):
        for name in ("both right", "only A right", "only B right"):
            assert row(page, name) == [str(found[name.lower().replace(" ", "_")])]
        assert row(page, "sign-flip test, by groups of rows") == [f"{found['sign_flip']:.3f}"]
        text = "".join(page.text)
        assert re.search(r"the difference of A less B is [+−]?\d+\.\d points of accuracy", text)
        assert "Only A is right" in text
        own = [content[side]["evaluation"]["calibration"] for side in "ab"]
        assert row(page, "mean confidence") == percents(*(one["confidence"] for one in own))
        assert text.count(" and lost their end. It is right on ") == 2
    kinds = {case["kind"] for case in content["cases"]}
    assert "only B is right" in kinds


@pytest.mark.parametrize("read", [shown, in_markdown])
def test_the_fields_of_an_input_have_their_names(
    read: Callable[[Path], Page], tmp_path: Path
) -> None:
    write_report(tmp_path, input={"text": "It rains.", "choices": ["Wet", "Dry"]})
    text = " ".join("".join(read(tmp_path / "report").text).split())
    assert "text: It rains. choices: Wet; Dry" in text
    assert re.search(r"(right|wrong), \d+\.\d % sure, of an input without its end", text)


def test_a_model_beside_itself(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = str(folder / "a")
    assert main(["--compare", same, same, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("A and B give the same label on each of the 90 rows.\n")
    assert "These rows do not show that one is better calibrated" in printed
    assert printed.endswith(f"{tmp_path}/comparison.html\n")


def test_models_that_read_other_texts_of_the_same_rows(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "b", tmp_path / "b")
    path = tmp_path / "b" / "predictions.jsonl"
    path.write_text(path.read_text().replace(', "text": "', ', "text": "Q: '))
    command = ["--compare", str(folder / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    found, expected = (
        json.loads((out / "comparison.json").read_text())["comparison"]
        for out in (tmp_path / "out", folder / "both")
    )
    assert found == expected


def other_rows(folder: Path) -> None:
    path = folder / "predictions.jsonl"
    path.write_text(path.read_text().replace(' 7"', ' 70"'))


def other_run(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    run["model"]["name"] = "another"
    (folder / "run.json").write_text(json.dumps(run))


def shorter(folder: Path) -> None:
    path = folder / "predictions.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda folder: (folder / "report.json").unlink(),
            "report.json: No such file or directory; ",
        ),
        (lambda folder: (folder / "run.json").unlink(), "run.json: No such file or directory; "),
        (lambda folder: (folder / "predictions.jsonl").unlink(), "predictions.jsonl"),
        (lambda folder: (folder / "report.json").write_text("{"), "Invalid JSON"),
        (
            lambda folder: (folder / "report.json").write_text("{}"),
            "Field required; evaluate again",
        ),
        (
            lambda folder: (folder / "run.json").write_text("[]"),
            "Input should be an object; evaluate again",
        ),
        (other_run, "is of another evaluation than run.json beside it: evaluate again"),
        (other_rows, "row 7 of A has the input"),
        (shorter, "A has 90 rows and B has 89: evaluate both on the same data"),
        (lambda folder: (folder / "predictions.jsonl").write_text("{\n"), "evaluate again"),
    ],
)
def test_a_folder_that_is_no_finished_evaluation(
    change: Callable[[Path], object],
    complaint: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(folder / "b", tmp_path / "b")
    change(tmp_path / "b")
    command = ["--compare", str(folder / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    assert complaint in complaint_of(command, capsys, main, "evaluate")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"none/report\.json: No such file"):
        read_evaluation(tmp_path / "none")


@pytest.mark.parametrize(
    "text", [HOSTILE, "", "```", "a_b_c", "1. x", "- x", "~~x~~", "<b>", "&lt;"]
)
def test_markdown_shows_text_as_it_is(text: str) -> None:
    render = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render
    page = Page(render(f"x {as_plain(text)}"))
    assert "".join(page.text).strip() == f"x {' '.join(text.split())}".strip()
    assert page.tags == {"p"}
    page = Page(render(as_fenced(text)))
    assert "".join(page.text) == f"{text}\n\n"
    assert page.tags == {"pre", "code"}


def test_what_does_not_explain_has_no_part_on_rationales(tmp_path: Path) -> None:
    write_report(tmp_path / "plain", 0, rationale=None)
    write_report(tmp_path / "other", 1)
    text = (tmp_path / "plain" / "report.md").read_text(encoding="utf-8")
    assert "It gives labels only, and no rationales." in text
    assert "## Rationales" not in text
    assert "## Rationales" in (tmp_path / "other" / "report.md").read_text(encoding="utf-8")
    for names in (("plain", "plain"), ("plain", "other")):
        a, b = (str(tmp_path / name) for name in names)
        out = tmp_path / "-".join(names)
        assert main(["--compare", a, b, "--gate", "--out", str(out)]) in (0, 1)
        text = (out / "comparison.md").read_text(encoding="utf-8")
        assert ("## Rationales" in text) == ("other" in names)
        measured = json.loads((out / "verdict.json").read_text())["measured"]
        assert "healthy" not in measured  # which both would have to explain for
