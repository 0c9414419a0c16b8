"""The page at / shows what is asked for first: the value, the equation below it, then details."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.chromium import accessible, ask, finished, open_page
from tests.support.server_process import Server, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("answers") / "log"
    with serve(log, "--threads", "1") as server:  # the embedded students
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with open_page(browser, server.url) as page:
        yield page


def size(page: Page, part: str) -> float:
    """The font size of a part, in pixels."""
    found: str = page.locator(part).evaluate("part => getComputedStyle(part).fontSize")
    return float(found.removesuffix("px"))


def answered(page: Page, **answer: Any) -> None:
    """Asks a service that answers so."""
    usage = {"label_tokens": 5, "rationale_tokens": 0, "input_tokens": 9, "decoder_steps": 5}
    answer = {"scores": [{"label": answer["label"], "score": 0.5}], "confidence": 0.5} | answer
    done = answer | {"usage": usage | {"accepted_tokens": 0}}
    stream = "".join(
        f"event: {name}\ndata: {json.dumps(data)}\n\n"
        for name, data in (("label", answer), ("done", done))
    )
    page.route("**/predict", lambda route: route.fulfill(body=stream))
    ask(page)
    finished(page)


def test_the_value_is_the_headline(page: Page, server: Server) -> None:
    text = page.get_by_role("textbox", name="Text").input_value()
    request = {"inputs": text, "model": "svamp-numbers"}
    answer = httpx.post(f"{server.url}/predict", json=request).json()
    assert answer["answer"] == int(answer["answer"])
    ask(page)
    finished(page)
    expect(page.locator("#value")).to_have_text(str(int(answer["answer"])))
    expect(page.locator("#label")).to_have_text(answer["label"])
    lines = page.locator("#verdict").inner_text().split()
    assert " ".join(lines) == f"{int(answer['answer'])} Equation: {answer['label']}"
    assert size(page, "#value") >= 28 > 18 > size(page, "#label")
    expect(page.get_by_role("status")).to_contain_text(f"Equation: {answer['label']}, confidence")


def test_a_label_of_a_closed_set_is_the_headline(page: Page) -> None:
    page.get_by_label("Model").select_option("svamp-operations")
    ask(page)
    finished(page)
    expect(page.locator("#value")).to_be_hidden()
    assert page.locator("#verdict").inner_text() == page.locator("#label").inner_text()
    assert size(page, "#label") >= 28
    assert page.locator("#scores li").count() == 5


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (9.0, "9"),
        (-3.5, "-3.5"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333"),
        (1234567.25, "1,234,567.25"),
        (0.000000125, "0.000000125"),
        (0, "0"),
    ],
)
def test_a_value_keeps_its_digits(page: Page, answer: float, shown: str) -> None:
    answered(page, label="( 3 * 3 )", answer=answer)
    assert page.locator("#value").inner_text() == shown


def test_a_label_without_a_value(page: Page) -> None:
    answered(page, label="( 3 / 0 )", answer=None)
    lines = page.locator("#verdict").inner_text().split("\n")
    assert [line for line in lines if line] == [
        "No value",
        "This cannot be worked out: ( 3 / 0 )",
    ]
    answered(page, label="billing")
    assert page.locator("#verdict").inner_text() == "billing"


def test_figures_of_the_engine_are_closed_at_first(page: Page) -> None:
    details = page.locator("details")
    expect(details).to_be_hidden()
    ask(page)
    finished(page)
    expect(details).to_be_visible()
    expect(page.get_by_text("Tokens per step")).to_be_hidden()
    assert "step" not in page.locator("#answer").inner_text()
    page.locator("summary").press("Enter")
    expect(page.get_by_text("Tokens per step")).to_be_visible()
    accessible(page)


def test_the_toggle_says_what_it_does(page: Page) -> None:
    toggle = page.get_by_role("checkbox")
    expect(toggle).to_be_checked()
    expect(toggle).to_have_accessible_name("Explain the answer")
    expect(toggle).to_have_accessible_description(
        "The model writes a rationale in a second pass. This takes longer."
    )
    page.get_by_text("Explain the answer").click()
    expect(toggle).not_to_be_checked()
    assert '"explain"' not in (page.locator("#command").text_content() or "")
