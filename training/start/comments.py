"""The comments of a first recipe: what a key says, and why it has its value."""

from training.start.first_recipe import FirstRecipe


def comments_of(found: FirstRecipe) -> dict[str, str]:
    """A comment for each key that needs one, by its place: `task.fields`."""
    config, scratch = found.config, found.base.name is None
    examples = len(found.splits.train)
    epochs = max(1, round(config.steps * config.batch_size / examples))
    comments = {
        "name": "of the student; the service calls it so",
        "task.fields": "what an input has",
        "task.template": "the text that the student reads",
        "task.answer": "labels are equations; one is right if its value is",
        "task.numbers": "the student reads n0, n1, … in place of numbers",
        "task.explain_given_label": "the rationale is written for the label that was predicted",
        "data.test": "measured at the end, once",
        "data.columns": "names of the task, and the columns that hold them",
        "data.labels": "there are no others",
        "data.group_by": "rows with the same text of this are held out together",
        "model": found.base.why,
        "license": "of the student: write the one that your data allow",
        "objective": "learns the label alone, as no row has a rationale",
        "steps": f"{epochs} times all {examples} examples"
        + ("; more would take over an hour here" if found.shortened else ""),
        "learning_rate": "for random weights" if scratch else "for pretrained weights",
        "eval_every": "steps; the best of these evaluations is kept",
        "validation_rows": _validation(found),
        "output_dir": "where the student will be",
    }
    if not found.roles.choices:
        comments |= _of_labels(found)
    if config.data.format != "hub":
        comments["data.train"] = "as seen from where you start `distill`"
    for name, lengths in found.lengths.items():
        comments[f"max_{name}_tokens"] = f"the longest has {lengths.longest}" + (
            f"; {lengths.cut} of {lengths.texts} are cut" if lengths.cut else ""
        )
    return comments


def _validation(found: FirstRecipe) -> str:
    source = found.config.data
    if source.validation is not None:
        return "at most so many are used"
    alone = "" if source.test else "; their accuracy is a little too high. Add test rows: `test:`"
    return f"held out, to choose the best step{alone}"


def _of_labels(found: FirstRecipe) -> dict[str, str]:
    labels, task = found.labels, found.config.task
    if not isinstance(task.labels, list):
        return {"task.labels": f"free text: {len(labels.counts)} different ones"}
    doubts = dict.fromkeys(labels.rare, "; rare: is it a mistake?")
    for first, *others in labels.alike:
        doubts |= dict.fromkeys(others, f"; but for case or white space, it is {first!r}")
    of_rows = {
        f"task.labels.{label}": f"{count} row{'s' * (count > 1)}{doubts.get(label, '')}"
        for label, count in labels.counts.items()
    }
    of_teacher = {f"task.labels.{label}": "only the other label of a row" for label in labels.other}
    return {"task.labels": "the label is one of these"} | of_rows | of_teacher
