"""The report: Markdown tables of the measurements and of the aims."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.benchmarks.comparison import Comparison
from training.reports.markdown import table


@dataclass(frozen=True)
class Target:
    """An aim, and whether it was reached."""

    what: str
    aim: str
    measured: str
    held: bool


@dataclass(frozen=True)
class Section:
    title: str
    shown: str  # Markdown, for the README too
    details: str


@dataclass
class Report:
    head: str  # the machine and the versions
    command: str = "make bench"
    sections: list[Section] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def add(self, title: str, shown: Sequence[str], details: Sequence[str] = ()) -> None:
        self.sections.append(Section(title, "\n\n".join(shown), "\n\n".join(details)))

    def aim(
        self,
        what: str,
        measured: float,
        *,
        least: float | None = None,
        most: float | None = None,
        unit: str = "×",
    ) -> None:
        """Compares a measured value with the least, or the most, that it should be."""
        bound, sign = (least, "at least") if least is not None else (most, "at most")
        assert bound is not None
        held = measured >= bound if least is not None else measured <= bound
        self.targets.append(Target(what, f"{sign} {bound:g}{unit}", f"{measured:.2f}{unit}", held))

    def summary(self) -> str:
        """The text for a README: the machine, and the shown part of each section."""
        parts = [self.head]
        for section in self.sections:
            if section.shown:
                parts += [f"**{section.title}**", section.shown]
        return "\n\n".join(parts)

    def summary_with_aims(self) -> str:
        """The summary, and what was aimed at."""
        return "\n\n".join([self.summary(), "**Aims**", self._aims()])

    def markdown(self) -> str:
        """The whole report."""
        parts = ["# Benchmarks", f"Written by `{self.command}`. Times are medians.", self.head]
        for section in self.sections:
            parts += [f"## {section.title}", section.shown, section.details]
        return "\n\n".join(filter(None, [*parts, "## Aims", self._aims()])) + "\n"

    def _aims(self) -> str:
        rows = [
            (target.what, target.aim, target.measured, "yes" if target.held else "**no**")
            for target in self.targets
        ]
        return table(("what", "aim", "measured", "held"), rows)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """A table of medians in ms. The fastest peer's and Duet's are bold."""
    names = list(comparisons[0].seconds)
    rows = []
    for comparison in comparisons:
        best = (comparison.best_peer, comparison.best_of_ours)
        cells = [
            f"**{milliseconds(comparison.seconds[name])}**"
            if name in best
            else milliseconds(comparison.seconds[name])
            for name in names
        ]
        rows.append((comparison.case, *cells, f"{comparison.ratio:.2f}×"))
    return table(("ms", *names, "fastest peer / Duet"), rows)


def ways_table(comparisons: Sequence[Comparison]) -> str:
    """A table of each peer's fastest way, and of how many of its texts are the first peer's."""
    names = list(comparisons[0].seconds)
    rows = []
    for comparison in comparisons:
        equal = {name: "{}/{}".format(*comparison.equal[name]) for name in names}
        rows.append(
            (comparison.case, *(f"{comparison.ways[name]}; {equal[name]}" for name in names))
        )
    return table(("by; texts equal to the first's", *names), rows)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.{1 if seconds < 0.1 else 0}f}"
