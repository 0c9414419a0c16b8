"""The arguments and stages of a Dockerfile, read without a build."""

import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        return [rest for name, rest in self.instructions if name == keyword]

    def only(self, keyword: str) -> str:
        (rest,) = self.all(keyword)
        return rest


def read(path: Path) -> tuple[dict[str, str], dict[str, Stage]]:
    """The arguments of its head, and its stages by name."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in filter(None, text.splitlines()):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = stages[name] = Stage(name, base)
        elif stage is None:
            assert keyword == "ARG"
            name, _, default = rest.partition("=")
            arguments[name] = default
        else:
            stage.instructions.append((keyword, rest))
    return arguments, stages
