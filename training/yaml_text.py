"""YAML as people write it: a key that stands twice is an error, and every error is one line."""

from typing import Any

import yaml


def parse_yaml(text: str) -> Any:
    """Raises ValueError, with the line and column where there are such."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        assert mark is not None
        problem = error.problem or error.context
        raise ValueError(f"line {mark.line + 1}, column {mark.column + 1}: {problem}") from error
    # ValueError comes of numbers and dates, such as 2024-13-45
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
