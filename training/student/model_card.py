"""The model cards of a student and of its bundle, from templates that share a part."""

import jinja2

from training.student.files import FAULTS


def render_card(package: str, template: str = "model_card.md.jinja", **facts: object) -> str:
    """The text of a package's template, which may include `measured.md.jinja`.

    That part reads `task` and `metrics`, which must be among the facts. Raises
    jinja2.UndefinedError where a fact is missing.
    """
    loaders = [jinja2.PackageLoader(name, "") for name in (package, "training.student")]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(facts, faults=FAULTS)
