"""Reports in a real browser: nothing is asked for, nothing runs, and all can read them."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.support.chromium import accessible
from tests.support.made_up_reports import HOSTILE, write_report
from training.evaluate import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    for seed, name in enumerate("ab"):
        write_report(folder / name, seed)
    assert main(["--compare", f"{folder}/a", f"{folder}/b", "--out", f"{folder}/both"]) == 0
    return folder


@pytest.mark.parametrize("width", [320, 390, 1200])
@pytest.mark.parametrize("name", ["a/report", "both/comparison"])
def test_a_report_opens(name: str, width: int, folder: Path, browser: Browser) -> None:
    url = (folder / f"{name}.html").as_uri()
    requests: list[str] = []
    complaints: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 900}) as tab:
        page = tab.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(url)
        assert HOSTILE.split(" | ")[0] in page.locator("article").first.inner_text()
        assert page.title() != "taken"
        for scheme, paper in (("light", "rgb(250, 249, 246)"), ("dark", "rgb(22, 25, 27)")):
            page.emulate_media(color_scheme=scheme)
            boxes = [svg.bounding_box() for svg in page.locator("svg").all()]
            assert [box["height"] > 100 for box in boxes if box] == [True] * 3
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            color = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert color == paper
            accessible(page)
        assert (requests, complaints) == ([url], [])


GREENS = {"light": "rgb(11, 107, 99)", "dark": "rgb(92, 200, 187)"}
REDS = {"light": "rgb(168, 38, 28)", "dark": "rgb(255, 159, 148)"}
INKS = {"light": "rgb(28, 32, 36)", "dark": "rgb(233, 235, 234)"}


def style(page: Page, name: str) -> str:
    found: str = page.locator(".headline strong").evaluate(
        "(headline, name) => getComputedStyle(headline)[name]", name
    )
    return found


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_only_a_significant_difference_is_large_and_coloured(
    width: int, tmp_path: Path, browser: Browser
) -> None:
    for name, right in (("good", True), ("bad", False)):
        write_report(tmp_path / name, right=right)
    pairs = {("good", "bad"): GREENS, ("bad", "good"): REDS, ("good", "good"): INKS}
    sizes = {}
    for (a, b), colors in pairs.items():
        out = tmp_path / f"{a}-{b}"
        assert main(["--compare", f"{tmp_path / a}", f"{tmp_path / b}", "--out", f"{out}"]) == 0
        with browser.new_context(viewport={"width": width, "height": 900}) as tab:
            page = tab.new_page()
            page.goto((out / "comparison.html").as_uri())
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                assert style(page, "color") == colors[scheme]
            sizes[a, b] = float(style(page, "fontSize").removesuffix("px"))
            shown = page.locator(".headline").inner_text().replace("\N{NO-BREAK SPACE}", " ")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        if colors is INKS:
            assert shown.startswith("No significant difference\n")
        else:
            assert f"right {'more' if a == 'good' else 'less'} often than B" in shown
    assert sizes["good", "bad"] == sizes["bad", "good"] > 1.5 * sizes["good", "good"]


def test_the_accuracy_of_one_model_is_not_coloured(folder: Path, browser: Browser) -> None:
    with browser.new_context(color_scheme="light") as tab:
        page = tab.new_page()
        page.goto((folder / "a" / "report.html").as_uri())
        assert style(page, "color") == INKS["light"]
