"""YAML files as people write them: every error is one line, which names the file and the key."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tasks.problems import in_words

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """A recipe is wrong. The message names the file and the key."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    content = parse_text(text, str(path))
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, such as `task: svamp`")
    return content


def validated(
    model: type[Model], content: dict[str, Any], path: Path, overridden: Iterable[str] = ()
) -> Model:
    """The content of a file as a model. Raises ConfigError, which names the file and the keys.

    Of the keys `overridden`, and those below them, it says that they are of the command line.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        places: dict[str, list[str]] = {}
        for problem in error.errors():
            key = _key_of(problem, content)
            typed = any(f"{key}.".startswith(f"{override}.") for override in overridden)
            text = ": ".join(filter(None, (key, in_words(problem, model) + _got(problem))))
            places.setdefault("the command line" if typed else str(path), []).append(text)
        parts = [f"{place}: {'; '.join(texts)}" for place, texts in places.items()]
        raise ConfigError("; ".join(parts)) from error


def _got(problem: ErrorDetails) -> str:
    value, kind = problem["input"], problem["type"]
    if kind in ("value_error", "extra_forbidden") or not isinstance(value, str | int | float):
        return ""
    text = json.dumps(value, ensure_ascii=False)
    return f", got {text}" if value != "" and len(text) < 60 else ""


def parse_text(text: str, where: str) -> Any:
    """The value of a YAML text. Raises ConfigError, which names `where` it stands."""
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{where}: not YAML ({error})") from error


def _key_of(problem: ErrorDetails, content: Any) -> str:
    """The key that a problem is at, as the recipe writes it: without pydantic's tags of unions."""
    keys = []
    for part in problem["loc"]:
        try:
            content = content[part]
        except (KeyError, IndexError, TypeError):
            if problem["type"] != "missing" or part != problem["loc"][-1]:
                continue
        keys.append(str(part))
    return ".".join(keys or map(str, problem["loc"]))


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises ValueError, with line and column where they are known."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        assert mark is not None
        problem = error.problem or error.context
        raise ValueError(f"line {mark.line + 1}, column {mark.column + 1}: {problem}") from error
    # numbers and dates, such as 2024-13-45, raise ValueError
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from error


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                problem = f"the key {name!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if name is not None:
                seen.add(name)
        return super().construct_mapping(node, deep)
