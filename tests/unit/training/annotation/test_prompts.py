import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.builtin import NLI_LABELS, TASKS
from tasks.task import LabelField, Task
from training.annotation.answer import Annotation, Parser
from training.annotation.prompt import Prompt, load_prompt
from training.data.row import Row
from training.yaml_files import ConfigError

TONE = Task(name="tone", fields=["review"], template="{{review}}", labels=["good", "bad"])
QUIZ = Task(
    name="quiz", fields=["text", "options"], template="{{text}}", labels=LabelField(field="options")
)
FILE: dict[str, Any] = {
    "instructions": "You judge reviews.",
    "question": "Review: {{ review }}",
    "examples": [{"input": {"review": "I left."}, "rationale": "Nobody leaves.", "label": "bad"}],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "prompt.yaml"
    path.write_text(yaml.safe_dump(FILE | changes), encoding="utf-8")
    return path


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("given_label", [False, True])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_the_examples_of_each_task_are_answers_that_are_accepted(
    task: Task, as_json: bool, given_label: bool
) -> None:
    prompt = load_prompt(task, None)
    assert len(prompt.examples) >= 3
    parser = Parser(task, [], as_json=as_json, given_label=given_label)
    chat = prompt.opening(as_json=as_json, given_label=given_label)
    assert [message["role"] for message in chat] == [
        "system",
        *["user", "assistant"] * len(prompt.examples),
    ]
    for shot, asked, answer in zip(prompt.examples, chat[1::2], chat[2::2], strict=True):
        assert parser.parse(answer["content"], Row("", shot.input, shot.label)) == Annotation(
            shot.label, (shot.rationale.strip(),)
        )
        for text in shot.input.values():
            for part in [text] if isinstance(text, str) else text:
                assert part in asked["content"]
        assert (f"known to be: {shot.label}" in asked["content"]) == given_label
    if isinstance(task.labels, list):
        assert {shot.label for shot in prompt.examples} == set(NLI_LABELS)
        assert f"one of: {', '.join(NLI_LABELS)}" in chat[0]["content"]


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    prompt = load_prompt(TONE, write(tmp_path))
    assert prompt.opening(as_json=False, given_label=False) == [
        {
            "role": "system",
            "content": "You judge reviews. Then end with a line of its own that is "
            '"Answer: " and one of: good, bad.',
        },
        {"role": "user", "content": "Review: I left."},
        {"role": "assistant", "content": "Nobody leaves.\nAnswer: bad"},
    ]
    system, _, answer = prompt.opening(as_json=True, given_label=False)
    assert system["content"] == (
        'You judge reviews. Reply with a JSON object alone: "rationale" holds the reasoning, and '
        '"label" one of: good, bad.'
    )
    assert json.loads(answer["content"]) == {"rationale": "Nobody leaves.", "label": "bad"}
    assert prompt.ask({"review": " {{ Fine }} {label} "}, None) == {
        "role": "user",
        "content": "Review: {{ Fine }} {label}",  # a row's text is never a template
    }
    assert "{label}" in prompt.ask({"review": "{label}"}, "good")["content"]


def test_a_prompt_needs_no_examples_and_may_tell_what_a_label_is(tmp_path: Path) -> None:
    prompt = load_prompt(TONE, write(tmp_path, examples=[], label="the tone"))
    (system,) = prompt.opening(as_json=False, given_label=False)
    assert system["content"].endswith('"Answer: " and the tone.')
    choices = load_prompt(QUIZ, write(tmp_path, examples=[], question="{{ text }}"))
    (system,) = choices.opening(as_json=False, given_label=False)
    assert system["content"].endswith("and one of the choices, word for word.")
    free = Task(name="free", fields=["review"], template="{{review}}")
    (system,) = load_prompt(free, write(tmp_path, examples=[])).opening(
        as_json=False, given_label=False
    )
    assert system["content"].endswith("and the answer.")


def shot(**changes: Any) -> dict[str, Any]:
    return {"examples": [FILE["examples"][0], FILE["examples"][0] | changes]}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"question": "{{ text }}"}, "question: the template fails on review: 'text' is undefined"),
        ({"question": "{{ review"}, "question: the template fails on review"),
        ({"question": "{{ review.splitlines()[1] }}"}, "question: the template fails on review"),
        ({"question": " "}, "question: expected text, found none"),
        ({"instructions": None}, "instructions: expected text"),
        ({"system": "You judge."}, "system: no such key"),
        (shot(label="fine"), "examples.2.label: 'fine' is not one of good, bad"),
        (shot(input={"text": "So."}), "examples.2.input: expected the fields review"),
        (shot(input={"review": ["So."]}), "examples.2.input.review: expected a text"),
        (shot(rationale=""), "examples.1.rationale: expected text, found none"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load_prompt(TONE, path)
    assert str(caught.value).startswith(f"{path}: {complaint}")


def test_examples_fit_their_task(tmp_path: Path) -> None:
    examples = [{"input": {"text": "2 and 2?"}, "rationale": "It is 4.", "label": "2 + 2 = 4"}]
    path = write(tmp_path, question="{{ text }}", examples=examples)
    with pytest.raises(ConfigError, match=r"examples\.1\.label: '2 \+ 2 = 4' is no equation"):
        load_prompt(TASKS["svamp"], path)
    examples = [{"input": {"text": "?", "options": "yes"}, "rationale": "So.", "label": "yes"}]
    with pytest.raises(ConfigError, match=r"examples\.1\.input\.options: expected a list of texts"):
        load_prompt(QUIZ, write(tmp_path, question="{{ text }}", examples=examples))


def test_files_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--prompt: name a file: task tone has no built-in one"):
        load_prompt(TONE, None)
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file"):
        load_prompt(TONE, tmp_path / "none.yaml")


def test_what_no_rationale_has_a_reason_to_repeat() -> None:
    prompt = Prompt.model_validate(FILE)
    texts = prompt.constant_texts()
    assert {"You judge reviews.", "Nobody leaves.", "I left."} <= set(texts)
    assert any("The right answer is known to be" in text for text in texts)
