"""YAML with comments is read as what was written."""

import yaml

from training.start.commented_yaml import commented_yaml


def test_comments_stand_beside_or_above_their_keys() -> None:
    content = {
        "name": "n",
        "task": {"labels": ["yes", "no", "3"], "fields": ["a", "b c"]},
        "path": "x",
        "none": {},
    }
    comments = {"task.labels": "one of", "task.labels.no": "2 rows", "task": "a task"}
    comments["path"] = "a long comment " * 7
    text = commented_yaml(content, comments)
    assert text == (
        "name: n\n"
        "task:  # a task\n"
        "  labels:  # one of\n"
        "    - 'yes'\n"
        "    - 'no'  # 2 rows\n"
        "    - '3'\n"
        "  fields: [a, b c]\n"
        f"# {comments['path']}\n"
        "path: x\n"
        "none: {}\n"
    )
    assert yaml.safe_load(text) == content


def test_any_text_is_one_line() -> None:
    content = {
        "a b": "two\nlines: #1",
        "c": ["- x", "{{y}}", "né", "", "null"],
        "long": "word " * 99,
        "n": 5e-05,
        "d": {"e: f": True},
    }
    text = commented_yaml(content, {})
    assert yaml.safe_load(text) == content
    assert len(text.splitlines()) == 6
