"""What an ablation found: accuracies, and differences from a baseline with their uncertainty."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import mean

from training.ablation import Ablation, Cell, Comparison
from training.markdown import table
from training.significance import clustered, confidence_interval, holm, sign_flip_test


@dataclass(frozen=True)
class Answer:
    """What a student said of a test row. `cluster` names rows that are no two independent ones."""

    input: str
    cluster: str
    label: str
    predicted: str
    right: bool


Answers = Mapping[Cell, list[Answer]]  # of the finished cells


@dataclass(frozen=True)
class Estimate:
    """A mean over test rows and seeds, and its 95 % interval where there are enough rows."""

    mean: float
    low: float | None
    high: float | None
    by_seed: dict[int, float]
    rows: int
    clusters: int


@dataclass
class Difference:
    """From the baseline, over the rows of the seeds that both have."""

    estimate: Estimate
    p: float
    p_holm: float = 1.0


@dataclass
class Result:
    """A comparison on one split."""

    title: str
    split: str
    baseline: str
    accuracies: dict[str, Estimate] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)


def results(ablation: Ablation, answers: Answers) -> list[Result]:
    """Each comparison on each of its splits, as far as there are answers."""
    return [
        _result(ablation, comparison, split, answers)
        for comparison in ablation.comparisons
        for split in comparison.splits
    ]


def _result(ablation: Ablation, comparison: Comparison, split: str, answers: Answers) -> Result:
    result = Result(comparison.title, split, comparison.baseline)
    right: dict[str, dict[int, list[tuple[str, float]]]] = {}  # (cluster, 0 or 1), by arm and seed
    for arm in (comparison.baseline, *comparison.arms):
        cells = (Cell(split, arm, seed) for seed in ablation.seeds)
        right[arm] = {
            cell.seed: [(answer.cluster, float(answer.right)) for answer in answers[cell]]
            for cell in cells
            if cell in answers
        }
        if right[arm]:
            result.accuracies[arm] = _estimate(right[arm])
    baseline = right[comparison.baseline]
    for arm in comparison.arms:
        by_seed = {
            seed: [
                (cluster, value - other)
                for (cluster, value), (_, other) in zip(values, baseline[seed], strict=True)
            ]
            for seed, values in right[arm].items()
            if seed in baseline
        }
        if by_seed:
            sums, _ = clustered(_pooled(by_seed))
            result.differences[arm] = Difference(_estimate(by_seed), sign_flip_test(sums))
    differences = result.differences.values()
    adjusted = holm([difference.p for difference in differences])
    for difference, p_holm in zip(differences, adjusted, strict=True):
        difference.p_holm = p_holm
    return result


def _estimate(by_seed: dict[int, list[tuple[str, float]]]) -> Estimate:
    pooled = _pooled(by_seed)
    sums, counts = clustered(pooled)
    low, high = confidence_interval(sums, counts)
    return Estimate(
        mean=mean(value for _, value in pooled),
        low=low,
        high=high,
        by_seed={seed: mean(value for _, value in values) for seed, values in by_seed.items()},
        rows=len(pooled),
        clusters=len(sums),
    )


def _pooled(by_seed: dict[int, list[tuple[str, float]]]) -> list[tuple[str, float]]:
    return [pair for values in by_seed.values() for pair in values]


def as_data(found: list[Result], missing: Iterable[Cell]) -> dict[str, object]:
    """For programs; shares, not percents."""
    return {"results": [*map(asdict, found)], "missing": [*map(str, missing)]}


def as_markdown(found: list[Result], cells: int, missing: list[Cell]) -> str:
    parts = [f"{cells - len(missing)} of {cells} students."]
    for result in found:
        parts += [f"**{result.title}, {result.split} split**", _tell(result)]
    if missing:
        parts.append(f"Not there yet: {', '.join(map(str, missing))}.")
    return "\n\n".join(parts)


def _tell(result: Result) -> str:
    if not result.accuracies:
        return "Nothing yet."
    most = max(result.accuracies.values(), key=lambda estimate: estimate.rows)
    rows = []
    for arm, accuracy in result.accuracies.items():
        cells = [arm, _percent(accuracy.mean), _interval(accuracy), _seeds(accuracy)]
        if arm in result.differences:
            difference = result.differences[arm]
            estimate = difference.estimate
            cells += [
                f"{100 * estimate.mean:+.1f}",
                _interval(estimate, "+"),
                _seeds(estimate, "+"),
            ]
            cells += [_p(difference.p), _p(difference.p_holm)]
        rows.append((*cells, *[""] * (9 - len(cells))))
    head = ("", "right, %", "95 %", "by seed", f"− {result.baseline}, points", "95 %", "by seed")
    return (
        f"{most.rows} answers in {most.clusters} clusters.\n\n"
        f"{table((*head, 'p', 'p, Holm'), rows)}"
    )


def _percent(share: float, sign: str = "") -> str:
    return f"{100 * share:{sign}.1f}"


def _interval(estimate: Estimate, sign: str = "") -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{_percent(estimate.low, sign)} … {_percent(estimate.high, sign)}"


def _seeds(estimate: Estimate, sign: str = "") -> str:
    return ", ".join(_percent(share, sign) for share in estimate.by_seed.values())


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
