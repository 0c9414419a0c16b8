"""Renders the texts of a model card from the templates beside this module."""

from importlib.resources import files

import jinja2


def render(template: str, **facts: object) -> str:
    """The text of a template. Raises jinja2.UndefinedError where a fact is missing."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = files("export").joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(text).render(facts)
