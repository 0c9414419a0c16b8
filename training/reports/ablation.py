"""The results of an ablation: labels and rationales, and the differences from a baseline."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import mean

from tasks.task import Task
from training.evaluation.ablation import Ablation, Cell, PlannedComparison
from training.evaluation.health import FAULTS, equals_reference, measure_health
from training.evaluation.intervals import Interval, difference_interval, share_interval
from training.evaluation.record import Record
from training.evaluation.significance import clustered, holm, sign_flip_test
from training.reports.markdown import table

FAULT_COLUMNS = {
    "bare_label": "bare label",
    "glued": "glued",
    "repeats": "repeats",
    "cut": "cut",
    "shared": "shared",
}


@dataclass(frozen=True)
class Found:
    """What a student said of the test rows, and the lower bound on I(Z;V) there, in nats."""

    task: Task
    records: list[Record]
    mi_bound: float | None


@dataclass(frozen=True)
class PooledEstimate:
    """A mean over test rows and seeds, and its 95 % interval."""

    mean: float
    low: float
    high: float
    by_seed: dict[int, float]
    rows: int
    clusters: int


@dataclass
class Difference:
    """The difference from the baseline, over the seeds that both have."""

    estimate: PooledEstimate
    p: float
    p_holm: float = 1.0


@dataclass
class Measure:
    """A share of test rows, by arm, and its difference from the baseline's share."""

    estimates: dict[str, PooledEstimate] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)


@dataclass
class Result:
    """A comparison on one data set.

    `shares` are of rationales, by arm: each fault of `Health`, and those equal to the teacher's.
    `mi_bounds` are means over seeds, in nats. `healthy`, `shares` and `mi_bounds` leave out arms
    whose students do not explain; a bound is None where it was not measured.
    """

    title: str
    dataset: str
    baseline: str
    right: Measure
    healthy: Measure
    shares: dict[str, dict[str, float]]
    mi_bounds: dict[str, float | None]


Values = dict[int, list[tuple[str, float]]]  # by seed: each row's cluster, and 0 or 1


def results(ablation: Ablation, found: Mapping[Cell, Found]) -> list[Result]:
    """Each comparison on each of its data sets, for the students that are finished."""
    flags = {cell: _flags(one) for cell, one in found.items()}
    return [
        _result(ablation, comparison, dataset, found, flags)
        for comparison in ablation.comparisons
        for dataset in comparison.datasets
    ]


def _flags(found: Found) -> list[dict[str, bool]]:
    """For each record, which measures hold."""
    healths = measure_health(found.records, found.task)
    return [
        {
            "right": record.right,
            "healthy": health is not None and health.healthy,
            "reference": bool(equals_reference(record)),
            **{name: health is not None and getattr(health, name) for name in FAULTS},
        }
        for record, health in zip(found.records, healths, strict=True)
    ]


def _result(
    ablation: Ablation,
    comparison: PlannedComparison,
    dataset: str,
    found: Mapping[Cell, Found],
    flags: Mapping[Cell, list[dict[str, bool]]],
) -> Result:
    arms = {
        arm: [cell for seed in ablation.seeds if (cell := Cell(dataset, arm, seed)) in found]
        for arm in (comparison.baseline, *comparison.arms)
    }
    arms = {arm: cells for arm, cells in arms.items() if cells}

    explaining = {
        arm: cells
        for arm, cells in arms.items()
        if any(record.rationale is not None for cell in cells for record in found[cell].records)
    }

    def measure(name: str, arms: Mapping[str, list[Cell]]) -> Measure:
        values = {
            arm: {
                cell.seed: [
                    (record.cluster, float(of[name]))
                    for record, of in zip(found[cell].records, flags[cell], strict=True)
                ]
                for cell in cells
            }
            for arm, cells in arms.items()
        }
        return _measure(values, comparison.baseline)

    shares, bounds = {}, {}
    for arm, cells in explaining.items():
        rows = [row for cell in cells for row in flags[cell]]
        shares[arm] = {name: mean(row[name] for row in rows) for name in (*FAULTS, "reference")}
        known = [bound for cell in cells if (bound := found[cell].mi_bound) is not None]
        bounds[arm] = mean(known) if known else None
    right, healthy = measure("right", arms), measure("healthy", explaining)
    return Result(comparison.title, dataset, comparison.baseline, right, healthy, shares, bounds)


def _measure(values: Mapping[str, Values], baseline: str) -> Measure:
    measure = Measure({arm: _estimate(of_arm, share_interval) for arm, of_arm in values.items()})
    of_baseline = values.get(baseline, {})
    for arm, of_arm in values.items():
        by_seed = {
            seed: [
                (cluster, value - other)
                for (cluster, value), (_, other) in zip(rows, of_baseline[seed], strict=True)
            ]
            for seed, rows in of_arm.items()
            if arm != baseline and seed in of_baseline
        }
        if by_seed:
            sums, _ = clustered(_pooled(by_seed))
            estimate = _estimate(by_seed, difference_interval)
            measure.differences[arm] = Difference(estimate, sign_flip_test(sums))
    differences = measure.differences.values()
    adjusted = holm([difference.p for difference in differences])
    for difference, p_holm in zip(differences, adjusted, strict=True):
        difference.p_holm = p_holm
    return measure


def _estimate(
    by_seed: Values, interval: Callable[[list[float], list[str]], Interval]
) -> PooledEstimate:
    pooled = _pooled(by_seed)
    clusters = [cluster for cluster, _ in pooled]
    low, high = interval([value for _, value in pooled], clusters)
    return PooledEstimate(
        mean=mean(value for _, value in pooled),
        low=low,
        high=high,
        by_seed={seed: mean(value for _, value in values) for seed, values in by_seed.items()},
        rows=len(pooled),
        clusters=len(set(clusters)),
    )


def _pooled(by_seed: Values) -> list[tuple[str, float]]:
    return [pair for values in by_seed.values() for pair in values]


def as_data(found: list[Result], missing: Iterable[Cell]) -> dict[str, object]:
    """The results for programs: shares, not percents."""
    return {"results": [*map(asdict, found)], "missing": [*map(str, missing)]}


def as_markdown(found: list[Result], cells: int, missing: list[Cell]) -> str:
    """Two tables for each comparison on each data set: labels, and rationales."""
    parts = [f"{cells - len(missing)} of {cells} students."]
    for result in found:
        parts += [f"**{result.title}: {result.dataset}**", _tell(result)]
    if missing:
        parts.append(f"Not there yet: {', '.join(map(str, missing))}.")
    return "\n\n".join(parts)


def _tell(result: Result) -> str:
    if not result.right.estimates:
        return "Nothing yet."
    most = max(result.right.estimates.values(), key=lambda estimate: estimate.rows)
    less = f"− {result.baseline}, points"

    def labels(arm: str) -> list[str]:
        return [_seeds(result.right.estimates[arm])]

    def rationales(arm: str) -> list[str]:
        shares, bound = result.shares[arm], result.mi_bounds[arm]
        return [
            *(_percent(shares[name]) for name in (*FAULT_COLUMNS, "reference")),
            "" if bound is None else f"{bound:.2f}",
        ]

    right = ["right, %", "95 %", less, "95 %", "p, Holm", "by seed"]
    healthy = ["healthy, %", "95 %", less, "95 %", "p, Holm", *FAULT_COLUMNS.values()]
    healthy += ["the teacher's own", "I(Z;V), nats"]
    parts = [f"{most.rows} answers in {most.clusters} clusters."]
    parts.append(_table(result.right, right, labels))
    if result.shares:
        parts.append(_table(result.healthy, healthy, rationales))
    return "\n\n".join(parts)


def _table(measure: Measure, head: Sequence[str], more: Callable[[str], list[str]]) -> str:
    rows = []
    for arm, estimate in measure.estimates.items():
        cells = [arm, _percent(estimate.mean), _interval(estimate)]
        difference = measure.differences.get(arm)
        if difference is None:
            cells += [""] * 3
        else:
            cells += [f"{100 * difference.estimate.mean:+.1f}"]
            cells += [_interval(difference.estimate, "+"), _p(difference.p_holm)]
        rows.append(cells + more(arm))
    return table(["", *head], rows)


def _percent(share: float, sign: str = "") -> str:
    return f"{100 * share:{sign}.1f}"


def _interval(estimate: PooledEstimate, sign: str = "") -> str:
    return f"{_percent(estimate.low, sign)} … {_percent(estimate.high, sign)}"


def _seeds(estimate: PooledEstimate) -> str:
    return ", ".join(_percent(share) for share in estimate.by_seed.values())


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
