"""Prompts: the messages in which a teacher is asked about a row."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

from tasks.equations import evaluate_equation
from tasks.task import Fields, Task, render_template
from training.yaml_files import ConfigError, read_yaml, validated

PROMPTS = Path(__file__).with_name("prompts")
ANSWER = "Answer:"  # begins the last line of an answer in plain text

_TEXT_FORM = f'Then end with a line of its own that is "{ANSWER} " and {{label}}.'
_JSON_FORM = 'Reply with a JSON object alone: "rationale" holds the reasoning, and "label" {label}.'
_GIVEN = (
    "{question}\n\nThe right answer is known to be: {label}\nGive the reasoning that leads to "
    "it, as though you had found it yourself, and end with it."
)

Message = dict[str, str]  # role and content
_Text = Annotated[str, StringConstraints(pattern=r"\S")]


class Shot(BaseModel):
    """An example of a good answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Fields
    rationale: _Text
    label: _Text


class Prompt(BaseModel):
    """A prompt file: instructions, a template of the question, and examples of good answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instructions: _Text
    question: _Text  # Jinja2 over the task's fields
    label: _Text | None = None  # describes the label; a task with labels lists them instead
    examples: list[Shot] = []

    def opening(self, *, as_json: bool, given_label: bool) -> list[Message]:
        """The messages before a row's question: the instructions and the examples."""
        form = (_JSON_FORM if as_json else _TEXT_FORM).format(label=self.label or "the answer")
        messages = [{"role": "system", "content": f"{self.instructions.strip()} {form}"}]
        for shot in self.examples:
            asked = self.ask(shot.input, shot.label if given_label else None)
            messages += [asked, {"role": "assistant", "content": _answer(shot, as_json)}]
        return messages

    def ask(self, fields: Fields, given_label: str | None) -> Message:
        """The question about an input, with its label where one is given."""
        question = render_template(self.question, fields).strip()
        if given_label is not None:
            question = _GIVEN.format(question=question, label=given_label)
        return {"role": "user", "content": question}

    def constant_texts(self) -> list[str]:
        """The texts that every request has. A rationale has no reason to repeat them."""
        shots = [text for shot in self.examples for text in (shot.rationale, *_texts(shot.input))]
        return [self.instructions, _TEXT_FORM, _JSON_FORM, _GIVEN, *shots]


def load_prompt(task: Task, path: Path | None) -> Prompt:
    """The prompt in a file, or the task's own. Raises ConfigError if it does not fit the task."""
    if path is None:
        path = PROMPTS / f"{task.name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in PROMPTS.glob("*.yaml")))
            raise ConfigError(
                f"--prompt: name a file: task {task.name} has no built-in one, only {known} have"
            )
    prompt = validated(Prompt, read_yaml(path), path)
    for number, shot in enumerate(prompt.examples, 1):
        if problem := _misfit(shot, task):
            raise ConfigError(f"{path}: examples.{number}.{problem}")
    form: dict[str, Any] = {
        name: ["text"] if name == task.choices else "text" for name in task.fields
    }
    try:
        for fields in (form, *(shot.input for shot in prompt.examples)):
            render_template(prompt.question, fields)
    except Exception as error:  # a template is data: it may raise whatever it likes
        raise ConfigError(
            f"{path}: question: the template fails on {', '.join(task.fields)}: {error}"
        ) from error
    if prompt.label is None and task.choices is not None:
        return prompt.model_copy(update={"label": "one of the choices, word for word"})
    if prompt.label is None and isinstance(task.labels, list):
        return prompt.model_copy(update={"label": f"one of: {', '.join(task.labels)}"})
    return prompt


def _misfit(shot: Shot, task: Task) -> str | None:
    """What in an example does not fit the task, or None."""
    if set(shot.input) != set(task.fields):
        return f"input: expected the fields {', '.join(task.fields)}"
    for name, value in shot.input.items():
        if isinstance(value, str) == (name == task.choices):
            return f"input.{name}: expected a {'list of texts' if name == task.choices else 'text'}"
    labels = task.labels_of(shot.input)
    if labels is not None and shot.label not in labels:
        return f"label: {shot.label!r} is not one of {', '.join(labels)}"
    if task.answer == "arithmetic" and evaluate_equation(shot.label) is None:
        return f"label: {shot.label!r} is no equation with a value"
    return None


def _answer(shot: Shot, as_json: bool) -> str:
    if as_json:
        return json.dumps({"rationale": shot.rationale, "label": shot.label}, ensure_ascii=False)
    return f"{shot.rationale.strip()}\n{ANSWER} {shot.label}"


def _texts(fields: Fields) -> list[str]:
    return [value for value in fields.values() if isinstance(value, str)]
