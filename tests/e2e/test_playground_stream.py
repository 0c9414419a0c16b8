"""The page at / while an answer comes: steps of the model happen when the test lets them."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from service.app import create_app
from service.engine.engine import Engine
from service.registry import Registry
from service.settings import Settings
from tests.support.bundles import reference
from tests.support.chromium import accessible, ask, finished, open_page
from tests.support.server_process import admission_of, serve_here
from tests.support.stepped_runner import SteppedRunner
from tests.support.tiny_students import Student, problems

TEXT = problems(1)[0]


@pytest.fixture
def app(undrafted_engine: Engine) -> FastAPI:
    return create_app(Settings(), Registry({"tiny": undrafted_engine}))


@pytest.fixture
def stepped(browser: Browser, app: FastAPI) -> Iterator[Page]:
    with serve_here(app) as (host, port), open_page(browser, f"http://{host}:{port}") as page:
        yield page


def test_the_rationale_comes_in_pieces(
    stepped: Page, runner: SteppedRunner, student: Student
) -> None:
    label, rationale = reference(student, TEXT)
    assert len(label.tokens) < len(rationale.tokens)
    stepped.get_by_role("textbox", name="Text").fill(TEXT)
    ask(stepped)
    runner.allowed.release(len(label.tokens))
    expect(stepped.locator("#label")).to_have_text(label.text)
    expect(stepped.get_by_role("region", name="Answer")).to_have_attribute("aria-busy", "true")
    assert len(stepped.locator("#rationale").text_content() or "") < len(rationale.text)
    runner.release()
    finished(stepped)
    assert stepped.locator("#rationale").text_content() == rationale.text
    assert stepped.evaluate("document.getElementById('rationale').childNodes.length") > 1


def test_a_full_queue(
    stepped: Page, app: FastAPI, runner: SteppedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = admission_of(app)
    monkeypatch.setattr(admission, "inputs", admission.max_inputs)
    ask(stepped)
    expect(stepped.get_by_role("alert")).to_contain_text("inputs are in work already")
    expect(stepped.get_by_role("alert")).to_contain_text("again later (in 1 s).")
    monkeypatch.setattr(admission, "inputs", 0)
    runner.release()
    ask(stepped)
    finished(stepped)
    expect(stepped.locator("#form-error")).to_be_empty()
    expect(stepped.locator("#label")).not_to_be_empty()


def test_stopping(stepped: Page, runner: SteppedRunner, student: Student) -> None:
    label, _ = reference(student, TEXT)
    stepped.get_by_role("textbox", name="Text").fill(TEXT)
    ask(stepped)
    runner.allowed.release(len(label.tokens))
    expect(stepped.locator("#label")).to_have_text(label.text)
    stepped.get_by_role("button", name="Stop").click()
    finished(stepped)
    expect(stepped.locator("#answer-error")).to_have_text("Stopped.")
    runner.release()
    ask(stepped)
    finished(stepped)
    expect(stepped.locator("#answer-error")).to_be_hidden()
    expect(stepped.locator("#figures")).not_to_be_empty()


def test_a_model_that_fails_after_the_label(
    stepped: Page, runner: SteppedRunner, student: Student
) -> None:
    label, _ = reference(student, TEXT)
    stepped.get_by_role("textbox", name="Text").fill(TEXT)
    ask(stepped)
    runner.allowed.release(len(label.tokens))
    expect(stepped.locator("#label")).to_have_text(label.text)
    runner.fault = RuntimeError("out of memory")
    runner.release()
    finished(stepped)
    expect(stepped.locator("#answer-error")).to_be_visible()
    expect(stepped.locator("#label")).to_have_text(label.text)
    accessible(stepped)
