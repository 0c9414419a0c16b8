import pytest
from pydantic import TypeAdapter, ValidationError

from tasks.builtin import TASKS
from tasks.task import Task, TrainedTask


def test_svamp_is_right_by_value() -> None:
    svamp = TASKS["svamp"]
    assert svamp.is_right("( 2.0 + 3.0 )", "( 3.0 + 2.0 )")
    assert svamp.is_right("( 10.0 / 4.0 )", "2.5")
    assert not svamp.is_right("( 3.0 - 2.0 )", "( 2.0 - 3.0 )")
    assert not svamp.is_right("( 3.0 -", "( 3.0 - 2.0 )")


def test_a_text_label_is_right_when_equal() -> None:
    task = Task(name="colours", fields=["a", "b"], template="{{a}}</s>{{b}}")
    assert task.is_right(" red ", "red")
    assert not task.is_right("1 + 1", "2")


def test_labels_are_open_a_list_or_in_a_field() -> None:
    fields = {"question": "What?", "choices": ["pen", "ink"]}
    open_task = Task(name="t", fields=["text"], template="{{text}}")
    closed = Task(name="t", fields=["text"], template="{{text}}", labels=["yes", "no"])
    chosen = Task(
        name="t",
        fields=["question", "choices"],
        template="{{question}}{% for choice in choices %} ({{choice}}){% endfor %}",
        labels={"field": "choices"},
    )
    assert open_task.labels_of({"text": "a"}) is None
    assert closed.labels_of({"text": "a"}) == ["yes", "no"]
    assert chosen.labels_of(fields) == ["pen", "ink"]
    assert chosen.render(fields) == "What? (pen) (ink)"


@pytest.mark.parametrize(
    "labels", [[], ["a", "a"], ["a", " "], {"field": "choices"}, "closed", ["a"] * 2, [""]]
)
def test_labels_that_are_none_are_refused(labels: object) -> None:
    with pytest.raises(ValidationError, match="labels"):
        Task(name="t", fields=["text"], template="{{text}}", labels=labels)


def test_numbers_are_masked_where_no_label_can_have_one() -> None:
    fields = {"name": "t", "fields": ["text"], "template": "{{text}}", "numbers": "masked"}
    assert Task(**fields).codec("Ann has 5").text == "Ann has n0"
    assert TASKS["svamp"].codec("Ann has 5").text == "Ann has 5"
    assert Task(**fields, labels=["a", "b"]).codec("Ann has 5").text == "Ann has n0"
    for labels in (["a", "5"], {"field": "text"}):
        with pytest.raises(ValidationError, match="numbers: they can only be masked if"):
            Task(**fields, labels=labels)


def test_the_template_renders_the_fields() -> None:
    task = Task(name="nli", fields=["a", "b"], template="{{a}}</s>{{b}}")
    assert task.render({"a": "It rains.", "b": "<b>Wet</b>"}) == "It rains.</s><b>Wet</b>"


def test_a_template_cannot_reach_beyond_its_fields() -> None:
    for template in ("{{b}}", "{{a.__class__.__mro__}}", "{{a", "{{a + 1}}"):
        with pytest.raises(ValidationError, match="the template fails on a"):
            Task(name="t", fields=["a"], template=template)


def test_fields_are_stripped() -> None:
    assert TASKS["svamp"].render({"text": "How many?\n"}) == "How many?"


def test_white_space_in_a_field_is_one_space_and_that_of_the_template_stays() -> None:
    pen = "a\N{NO-BREAK SPACE} pen"
    spaced = {"question": " What\r\nwrites,\t\tthen? ", "choices": [pen, "ink\n"]}
    plain = {"question": "What writes, then?", "choices": ["a pen", "ink"]}
    rendered = "What writes, then?\nAnswer Choices:\n(a) a pen\n(b) ink"
    assert TASKS["cqa"].render(spaced) == TASKS["cqa"].render(plain) == rendered
    assert TASKS["cqa"].labels_of(spaced) == [pen, "ink"]  # as written
    kept = TASKS["cqa"].model_copy(update={"whitespace": "keep"})
    assert kept.render(spaced) == (f"What\r\nwrites,\t\tthen?\nAnswer Choices:\n(a) {pen}\n(b) ink")


def test_a_student_that_was_trained_before_there_was_a_key_keeps_white_space() -> None:
    adapter = TypeAdapter(TrainedTask)
    old = {"name": "t", "fields": ["text"], "template": "{{text}}"}
    assert adapter.validate_python(old).render({"text": "a\nb"}) == "a\nb"
    assert Task.model_validate(old).render({"text": "a\nb"}) == "a b"
    for task in (Task(**old), Task(**old, whitespace="keep")):
        assert adapter.validate_json(adapter.dump_json(task)) == task


def test_the_built_in_tasks_read_as_the_paper_has_them() -> None:
    assert list(TASKS) == ["esnli", "anli1", "cqa", "svamp"]
    for name in ("esnli", "anli1"):
        fields = {"premise": "A man sleeps. ", "hypothesis": " A man runs."}
        assert TASKS[name].render(fields) == "A man sleeps.</s>A man runs."
        assert TASKS[name].labels_of(fields) == ["entailment", "neutral", "contradiction"]
    fields = {"question": "What writes?", "choices": ["a pen", "ink", "a pen"]}
    assert TASKS["cqa"].render(fields) == (
        "What writes?\nAnswer Choices:\n(a) a pen\n(b) ink\n(c) a pen"
    )
    assert TASKS["cqa"].labels_of(fields) == ["a pen", "ink", "a pen"]


def test_no_number_of_choices_is_too_many() -> None:
    text = TASKS["cqa"].render({"question": "Which?", "choices": ["one"] * 1000})
    assert text.count(") one") == 1000
    assert "(z) one" in text
