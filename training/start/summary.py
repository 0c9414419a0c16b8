"""What was found in the rows, for the terminal."""

from collections.abc import Iterator

from training.start.first_recipe import FirstRecipe

SHOWN = 6  # labels
FEW = 100  # rows, below which accuracy is known to ten points at best


def summary(found: FirstRecipe) -> str:
    """What was found, what was dropped, the student and its time; a line for each."""
    width = max(len(name) for name, _ in _facts(found))
    return "".join(f"{name:<{width}}  {what}\n" for name, what in _facts(found))


def _facts(found: FirstRecipe) -> Iterator[tuple[str, str]]:
    roles, report, config = found.roles, found.report, found.config
    kept = report.read - report.dropped
    yield "rows", f"{report.read} in {report.source}"
    if kept < FEW:
        yield "  warning", f"{kept} rows are too few to trust the student; bring some hundreds"
    for reason, count in report.reasons.items():
        yield "  dropped", f"{count} × {reason} (first: {report.first[reason]})"
    choices = f", and the choices in {', '.join(roles.choices)}" if roles.choices else ""
    yield "input", f"{', '.join(roles.fields.values())}{choices}"
    yield "label", f"{roles.label}: {_labels(found)}"
    for doubt in _doubts(found):
        yield "  warning", doubt
    if roles.teacher_label:
        yield "teacher's label", roles.teacher_label
    if roles.rationale:
        explained = kept - report.without_rationale
        columns = ", ".join(roles.rationale)
        yield "rationale", f"{columns}: {explained} of {kept} rows have one"
    else:
        yield "rationale", "no column; the student learns labels alone (see `duet teach`)"
    for column, why in roles.dropped.items():
        yield "not used", f"{column}: {why}"
    lengths = ", ".join(
        f"{name} {one.median} and at most {one.longest}" for name, one in found.lengths.items()
    )
    yield "tokens", f"{lengths} (median, longest)"
    for name, one in found.lengths.items():
        if one.cut:
            yield "  cut", f"{one.cut} of {one.texts} {name}s, at {one.limit} tokens"
    held_out = len(found.splits.validation)
    yield "held out", f"{held_out} rows{'' if config.data.test else '; there are no test rows'}"
    if config.data.test:
        yield "test", f"{len(found.splits.test)} rows in {config.data.test}"
    for warning in found.splits.trained_on.values():
        yield "warning", warning
    base = found.base.name or "from scratch"
    yield "student", f"{base}, {found.parameters / 1e6:.1f} M parameters ({found.base.why})"
    if found.base.name:
        yield "", "`--model scratch` trains much faster, but knows only what the rows say"
    yield (
        "time",
        f"about {_minutes(found.minutes)} on this machine when idle: {config.steps} steps of "
        f"{found.pace.step:.2g} s, and evaluations",
    )


def _labels(found: FirstRecipe) -> str:
    task, counts = found.config.task, found.labels.counts
    if found.roles.choices:
        return "one of the choices"
    if task.labels == "open":
        kind = "equations" if task.answer else "free text"
        return f"{kind}, {len(counts)} different ones"
    some = ", ".join(f"{label} {count}" for label, count in counts.most_common(SHOWN))
    return f"one of {len(found.labels.all)} ({some}{', …' if len(counts) > SHOWN else ''})"


def _doubts(found: FirstRecipe) -> Iterator[str]:
    """What may be wrong with the labels of a closed set."""
    labels = found.labels
    if isinstance(found.config.task.labels, list):
        if rare := labels.rare:
            some = ", ".join(f"{label!r} {labels.counts[label]}" for label in rare[:SHOWN])
            more = f", and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
            yield f"few rows have these labels, which may be mistakes: {some}{more}"
        for alike in labels.alike:
            names = " and ".join(map(repr, alike))
            yield f"{names} differ only in case or white space: correct the rows if they are one"


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return "a minute"
    if minutes < 90:
        return f"{minutes:.0f} minute{'s' if round(minutes) > 1 else ''}"
    return f"{minutes / 60:.1f} hours"
