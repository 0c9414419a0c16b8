"""The page at /, in a real browser, before a real server."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tasks.task import LabelField, Task
from tests.support.bundles import reference, write_bundle
from tests.support.chromium import accessible, ask, finished, open_page
from tests.support.server_process import Server, serve
from tests.support.tiny_students import Student, problems

TEXT = problems(1)[0]
PHONE = {"width": 360, "height": 740}
NLI = Task(
    name="nli",
    fields=["premise", "hypothesis"],
    template="{{premise}}</s>{{hypothesis}}",
    labels=["yes", "no", "maybe"],
    examples=[{"premise": "Ann has 3 pens.", "hypothesis": "Ann has 3 <b>pens</b>."}],
)
CQA = Task(
    name="cqa",
    fields=["question", "choices"],
    template="{{question}}{% for choice in choices %}\n{{choice}}{% endfor %}",
    labels=LabelField(field="choices"),
)


@pytest.fixture(scope="module")
def server(
    student: Student,
    tiny_bundle: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("playground")
    for task in (NLI, CQA):
        write_bundle(folder / task.name, student, name=task.name, task=task)
    bundles = (tiny_bundle, folder / "nli", folder / "cqa")
    models = ",".join(map(str, bundles))
    with serve(folder / "log", "--models", models, "--threads", "1") as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with open_page(browser, server.url) as page:
        yield page


def scores(page: Page) -> list[tuple[str, str, float]]:
    """Of each bar the name, the share as written, and the part that is filled."""
    found: list[tuple[str, str, float]] = page.locator("#scores li").evaluate_all(
        """items => items.map(item => {
            const [track, filled] = [".bar", ".bar span"].map(part => item.querySelector(part));
            return [
                item.querySelector(".name").textContent,
                item.querySelector(".share").textContent,
                filled.getBoundingClientRect().width / track.getBoundingClientRect().width,
            ];
        })"""
    )
    return found


def test_an_answer(page: Page, student: Student, server: Server) -> None:
    label, rationale = reference(student, TEXT)
    page.get_by_role("textbox", name="Text").fill(TEXT)
    ask(page)
    finished(page)
    expect(page.locator("#label")).to_have_text(label.text)
    assert page.locator("#rationale").text_content() == rationale.text
    ((name, share, filled),) = scores(page)
    assert name == "Confidence"
    assert float(share.strip("<>%")) / 100 == pytest.approx(filled, abs=2e-3)
    status = page.get_by_role("status").text_content()
    assert status is not None
    assert label.text in status
    assert rationale.text in status
    figures = page.locator("#figures")
    expect(figures).to_be_hidden()
    page.get_by_text("Times and tokens").click()
    assert f"{len(label.tokens) + len(rationale.tokens)} written" in figures.inner_text()


def test_the_command_asks_the_same(page: Page, student: Student) -> None:
    page.get_by_role("textbox", name="Text").fill('Ann isn\'t \\ "here"\n`$HOME` é')
    ask(page)
    finished(page)
    command = page.locator("#command").text_content()
    assert command is not None
    answer = json.loads(subprocess.run(["sh", "-c", f"{command} -s"], capture_output=True).stdout)
    assert answer["label"] == page.locator("#label").text_content()
    assert answer["rationale"] == page.locator("#rationale").text_content()
    assert shlex.split(command)[0] == "curl"


def test_copying_the_command(browser: Browser, server: Server) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with open_page(browser, server.url, permissions=permissions) as page:
        page.get_by_role("button", name="Copy").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator("#command").text_content()


def test_bars_of_a_closed_set(page: Page) -> None:
    page.get_by_label("Model").select_option("nli")
    expect(page.get_by_role("textbox", name="Premise")).to_have_value("Ann has 3 pens.")
    expect(page.get_by_role("textbox", name="Hypothesis")).to_have_value("Ann has 3 <b>pens</b>.")
    page.get_by_label("Explain").uncheck()
    ask(page)
    finished(page)
    bars = scores(page)
    assert {name for name, _, _ in bars} == {"yes", "no", "maybe"}
    assert sum(filled for _, _, filled in bars) == pytest.approx(1, abs=2e-3)
    assert [filled for _, _, filled in bars] == sorted((bar[2] for bar in bars), reverse=True)
    expect(page.locator("#label")).to_have_text(bars[0][0])
    expect(page.locator("#rationale-part")).to_be_hidden()


def test_choices_of_the_input(page: Page) -> None:
    page.get_by_label("Model").select_option("cqa")
    page.get_by_role("textbox", name="Question").fill("Who?")
    page.get_by_role("textbox", name="Choices").fill("Ann\n\nBen \nChloe")
    ask(page)
    finished(page)
    assert {name for name, _, _ in scores(page)} == {"Ann", "Ben", "Chloe"}


def test_examples(page: Page) -> None:
    text = page.get_by_role("textbox", name="Text")
    example = text.input_value()
    text.fill("Something else")
    page.get_by_role("button", name=example).click()
    expect(text).to_have_value(example)


def test_an_error_stands_at_its_field(page: Page) -> None:
    page.get_by_label("Model").select_option("nli")
    field = page.get_by_role("textbox", name="Hypothesis")
    field.fill(" ")
    ask(page)
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description("Hypothesis is empty.")
    field.fill("Ann has pens.")
    ask(page)
    finished(page)
    expect(page.locator("#label")).not_to_be_empty()
    expect(field).to_have_accessible_description("")


def test_an_input_that_is_too_long(page: Page) -> None:
    field = page.get_by_role("textbox", name="Text")
    field.fill("a" * 2000)
    ask(page)
    expect(page.locator("#field-0-error")).to_contain_text("tiny takes at most 64")
    page.get_by_label("Model").select_option("nli")
    page.get_by_role("textbox", name="Premise").fill("a" * 2000)
    ask(page)
    expect(page.get_by_role("alert")).to_contain_text("nli takes at most 64")


def test_errors_of_the_service(browser: Browser, tiny_bundle: Path, tmp_path: Path) -> None:
    settings = {"DUET_MODELS": str(tiny_bundle), "DUET_TIMEOUT": "1e-9"}
    with serve(tmp_path / "log", **settings) as server, open_page(browser, server.url) as page:
        ask(page)
        expect(page.get_by_role("alert")).to_contain_text("Not answered within")
        server.process.kill()
        server.process.wait()
        ask(page)
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")


def test_a_key_is_asked_for_where_one_is_needed(
    browser: Browser, tiny_bundle: Path, tmp_path: Path
) -> None:
    settings = {"DUET_MODELS": str(tiny_bundle), "DUET_API_KEYS": "s3cret"}
    with serve(tmp_path / "log", **settings) as server, open_page(browser, server.url) as page:
        field = page.get_by_label("API key")
        expect(field).to_be_focused()
        expect(field).to_have_accessible_description(re.compile("A key is needed"))
        accessible(page)
        field.fill("guess")
        field.press("Enter")
        expect(field).to_have_accessible_description(re.compile("does not know the key"))
        field.fill("s3cret")
        field.press("Enter")
        ask(page)
        finished(page)
        expect(page.locator("#label")).not_to_be_empty()
        command = page.locator("#command").text_content()
        assert command is not None
        assert "s3cret" not in command
        done = subprocess.run(
            ["sh", "-c", f"{command} -s"],
            capture_output=True,
            env=os.environ | {"DUET_API_KEY": "s3cret"},
        )
        assert json.loads(done.stdout)["label"] == page.locator("#label").text_content()


def test_no_key_is_asked_for_where_none_is_needed(page: Page) -> None:
    ask(page)
    finished(page)
    expect(page.get_by_label("API key")).to_be_hidden()


def test_with_the_keyboard_alone(page: Page) -> None:
    expect(page.get_by_label("Model")).to_be_visible()
    expect(page.get_by_role("link", name="API docs")).to_be_visible()
    order = []
    while order[-1:] != ["command"]:
        page.keyboard.press("Tab")
        focused = page.evaluate(
            """() => {
                const element = document.activeElement;
                return {
                    name: element.id || element.textContent,
                    outline: getComputedStyle(element).outlineStyle,
                };
            }"""
        )
        assert focused["outline"] == "solid"
        order.append(focused["name"])
        if focused["name"] == "field-0":
            page.keyboard.press("ControlOrMeta+a")
            page.keyboard.type(TEXT)
        if focused["name"] == "ask":
            page.keyboard.press("Enter")
            finished(page)
            expect(page.locator("#label")).not_to_be_empty()
            expect(page.get_by_role("button", name="Ask")).to_be_focused()
    example = page.locator("#examples button").text_content()
    fields = ["model", "field-0", example, "explain", "ask"]
    assert order == ["docs", "theme", *fields, "Times and tokens", "copy", "command"]


def test_control_and_enter_ask(page: Page) -> None:
    page.get_by_role("textbox", name="Text").press("ControlOrMeta+Enter")
    finished(page)
    expect(page.locator("#label")).not_to_be_empty()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(browser: Browser, server: Server, scheme: str) -> None:
    with open_page(browser, server.url, color_scheme=scheme) as page:
        expect(page.get_by_label("Model")).to_be_visible()
        accessible(page)
        page.get_by_label("Model").select_option("nli")
        ask(page)
        finished(page)
        accessible(page)
        page.get_by_role("textbox", name="Premise").fill("")
        ask(page)
        expect(page.get_by_role("textbox", name="Premise")).to_be_focused()
        accessible(page)


def test_the_theme_is_kept(browser: Browser, server: Server) -> None:
    def paper(page: Page) -> int:
        red: int = page.evaluate(
            "Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])"
        )
        return red

    with open_page(browser, server.url, color_scheme="light") as page:
        assert paper(page) > 200
        page.get_by_role("button", name="Dark theme").click()
        expect(page.get_by_role("button", name="Light theme")).to_be_focused()
        assert paper(page) < 50
        page.reload()
        expect(page.get_by_role("button", name="Light theme")).to_be_visible()
        assert paper(page) < 50


def test_a_phone(browser: Browser, server: Server) -> None:
    with open_page(browser, server.url, viewport=PHONE) as page:
        page.get_by_role("textbox", name="Text").fill("a" * 40)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        ask(page)
        finished(page)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        expect(page.locator("#verdict")).to_be_in_viewport()
        accessible(page)
