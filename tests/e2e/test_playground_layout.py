"""The page at / on narrow and wide screens: all text is in sight, and all targets fit a finger."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from export.bundle import Limits
from tasks.task import LabelField, Task
from tests.support.bundles import write_bundle
from tests.support.chromium import accessible, ask, finished, open_page
from tests.support.server_process import Server, serve
from tests.support.tiny_students import Student

LONG = "Two engineers saw the bridges on Thursday, and did not agree on the third one. " * 4
UNBROKEN = "https://example.com/" + "a-long-name/" * 14
TASKS = [
    Task(
        name="nli",
        fields=["premise", "hypothesis"],
        template="{{premise}}</s>{{hypothesis}}",
        labels=["entailment", "neutral", "contradiction" + "-and-more" * 8],
        examples=[
            {"premise": "It rains.", "hypothesis": "It is wet."},
            {"premise": LONG, "hypothesis": UNBROKEN},
        ],
    ),
    Task(
        name="cqa",
        fields=["question", "choices"],
        template="{{question}}{% for choice in choices %}\n{{choice}}{% endfor %}",
        labels=LabelField(field="choices"),
        examples=[{"question": "Where is it wet?", "choices": ["desert", "ocean", "a" * 60]}],
    ),
    Task(
        name="numbers",
        fields=["text"],
        template="{{text}}",
        answer="arithmetic",
        examples=[
            {"text": "Omar baked 48 rolls and packed them into 6 bags. How many are in each bag?"},
            {"text": UNBROKEN},
            {"text": "\N{PEACH}" * 250},
        ],
    ),
]
CUT_OFF = """() => [...document.querySelectorAll("body *")].filter(element =>
    element.getClientRects().length && element.clientWidth && element.id !== "status"
    && (element.scrollWidth > element.clientWidth + 1
        || element.scrollHeight > element.clientHeight + 1)
).map(element => element.outerHTML)"""
TARGETS = "a, button, label[for=explain], select, summary, textarea"
SMALL = f"""() => [...document.querySelectorAll("{TARGETS}")]
    .filter(element => element.getClientRects().length)
    .filter(element => element.getBoundingClientRect().height < 44)
    .map(element => element.outerHTML)"""


@pytest.fixture(scope="module")
def server(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("layout")
    limits = Limits(input_tokens=512, label_tokens=120, rationale_tokens=48)
    for task in TASKS:
        write_bundle(folder / task.name, student, name=task.name, task=task, limits=limits)
    models = ",".join(str(folder / task.name) for task in TASKS)
    with serve(folder / "log", "--models", models, "--threads", "1") as server:
        yield server


def fits(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate(SMALL) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_cut_off(browser: Browser, server: Server, width: int) -> None:
    scheme = "dark" if width == 320 else "light"
    viewport = {"width": width, "height": 800}
    with open_page(browser, server.url, viewport=viewport, color_scheme=scheme) as page:
        for task in TASKS:
            page.get_by_label("Model").select_option(task.name)
            fits(page, width)
            ask(page)
            finished(page)
            page.locator("summary").click()
            expect(page.locator("#figures")).to_be_visible()
            fits(page, width)
            page.locator("summary").click()
        accessible(page)


def test_cards_say_what_they_fill_in(browser: Browser, server: Server) -> None:
    with open_page(browser, server.url) as page:
        page.get_by_label("Model").select_option("nli")
        cards = page.locator("#examples button")
        assert cards.nth(0).inner_text() == "Premise: It rains.\nHypothesis: It is wet."
        premise, hypothesis = cards.nth(1).inner_text().split("\n")
        shown = premise.removeprefix("Premise: ").removesuffix(" …")
        assert 150 < len(shown) <= 200
        assert LONG.startswith(f"{shown} ")
        assert hypothesis == f"Hypothesis: {UNBROKEN}"
        cards.nth(1).click()
        expect(page.get_by_role("textbox", name="Premise")).to_have_value(LONG)
        page.get_by_label("Model").select_option("cqa")
        lines = ["Question: Where is it wet?", f"Choices: desert, ocean, {'a' * 60}"]
        assert cards.inner_text().split("\n") == lines
        page.get_by_label("Model").select_option("numbers")
        assert cards.nth(2).inner_text() == "\N{PEACH}" * 200 + " …"
