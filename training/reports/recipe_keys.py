"""Writes the table of a recipe's keys: `python -m training.reports.recipe_keys PAGE.md`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from training.config import DistillConfig
from training.defaults import FROM_SCRATCH, OPTIONS
from training.reports.markdown import rewrite_block

BLOCK: Final = "recipe-keys"  # of the page

_TYPES: Final = {
    "array": "list",
    "boolean": "`true`, `false`",
    "integer": "integer",
    "number": "number",
    "object": "keys",
    "string": "text",
}

Schema = dict[str, Any]


class Key(NamedTuple):
    """A key of a recipe, with its place: `data.filters.leaks`."""

    name: str
    values: str  # that it can have
    default: str
    description: str


def recipe_keys() -> list[Key]:
    """Every key that a recipe can have, in order, those of its sections included."""
    schema = DistillConfig.model_json_schema()
    return list(_keys(schema, schema["$defs"], ""))


def keys_table() -> str:
    """The keys as a Markdown table."""
    head = ("key", "values", "default", "what it says")
    rows = [
        (f"`{key.name}`", *(cell.replace("|", r"\|") for cell in key[1:])) for key in recipe_keys()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def main() -> None:
    (page,) = sys.argv[1:]
    rewrite_block(Path(page), BLOCK, keys_table())


def _keys(model: Schema, models: Schema, above: str) -> Iterator[Key]:
    for name, field in model["properties"].items():
        if (above, name) == ("task.", "examples"):  # of manifests alone
            continue
        required = name in model.get("required", ())
        yield _key(f"{above}{name}", field, required)
        kinds = [models[kind] for kind in _models_of(field)]
        if name == "data":
            yield from _of_sources(kinds, models)
            continue
        for kind in kinds:
            yield from _keys(kind, models, f"{above}{name}.")


def _of_sources(sources: list[Schema], models: Schema) -> Iterator[Key]:
    """The keys of `data`. One that only some formats have, or that differs, names these."""
    found: dict[Key, list[str]] = {}
    for source in sources:
        formats = source["properties"]["format"]
        names = formats.get("enum") or [formats["const"]]
        for key in _keys(source, models, "data."):
            found.setdefault(key, []).extend(names)
    common = max(map(len, found.values()))
    names = list(dict.fromkeys(key.name for key in found))
    names.sort(key=lambda name: name != "data.format")

    def place(item: tuple[Key, list[str]]) -> tuple[bool, int]:
        key, formats = item
        return len(formats) == common, names.index(key.name)

    for key, formats in sorted(found.items(), key=place):
        if len(formats) == common or key.name == "data.format":
            yield key
        else:
            yield key._replace(description=f"{', '.join(formats)}: {key.description}")


def _key(name: str, field: Schema, required: bool) -> Key:
    default = field.get("default")
    if required:
        text = "required"
    elif name in OPTIONS:
        text = "by the objective"
    elif isinstance(default, dict) or default is None:
        text = "none"
    else:
        text = _written(default)
    if name in FROM_SCRATCH:
        text += f"; from scratch {_written(FROM_SCRATCH[name])}"
    return Key(name, ", ".join(_values(field)), text, field.get("description", ""))


def _written(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False).strip(chr(34)) if value != '' else ''}`"


def _values(field: Schema) -> list[str]:
    """What a field can hold, in a few words."""
    if any_of := field.get("anyOf") or field.get("oneOf"):
        kinds = [kind for one in any_of for kind in _values(one) if kind != "null"]
        return list(dict.fromkeys(kinds))
    if "enum" in field or "const" in field:
        return [_written(value) for value in field.get("enum") or [field["const"]]]
    if "$ref" in field:
        return ["keys"]
    if field.get("type") == "null":
        return ["null"]
    return ["path" if field.get("format") == "path" else _TYPES[field["type"]]]


def _models_of(field: Schema) -> list[str]:
    """The names of the models that a field can hold."""
    fields = [field, *field.get("anyOf", ()), *field.get("oneOf", ())]
    return [one["$ref"].rpartition("/")[2] for one in fields if "$ref" in one]


if __name__ == "__main__":
    main()
