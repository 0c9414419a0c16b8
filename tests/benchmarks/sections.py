"""The sections of the report: each measures something, adds its tables, and holds it to its aim."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import costs, generation, serving, svamp
from tests.benchmarks.comparison import Comparison
from tests.benchmarks.effort import Effort
from tests.benchmarks.geometry import Geometry
from tests.benchmarks.layout import PRECISIONS
from tests.benchmarks.report import Report, comparison_table, milliseconds, ways_table
from tests.benchmarks.workers import in_a_process
from training.reports.markdown import table

MEGABYTE = 1e6
WAYS = "How each peer was fastest, and how many of its texts are the first peer's:"


@dataclass(frozen=True)
class Bench:
    """What sections have in common. `peers` are those beside transformers."""

    report: Report
    peers: Collection[str]
    effort: Effort
    log: Callable[[str], None]


def add_generation(bench: Bench, geometry: Geometry, folder: Path, *, aimed: bool) -> None:
    comparisons = generation.measure(geometry, folder, bench.peers, bench.effort, bench.log)
    medians = [
        "Without speculation. A label is one of 3 candidates of 3 tokens. A rationale has "
        f"{geometry.rationale_tokens} tokens, an input {geometry.input_tokens}.",
        comparison_table(comparisons),
    ]
    ways = [WAYS, ways_table(comparisons)]
    shown = medians if aimed else []
    details = ways if aimed else [*medians, *ways]
    bench.report.add(f"{geometry.name}, random weights", shown, details)
    if aimed:
        _aim_generation(bench.report, geometry, comparisons)


def _aim_generation(report: Report, geometry: Geometry, comparisons: Sequence[Comparison]) -> None:
    found = {comparison.case: comparison for comparison in comparisons}
    for wants, batch, least in ("label", 1, 2.5), ("rationale", 1, 2.2), ("rationale", 8, 2.5):
        case = f"{geometry.name}, {wants}, batch {batch}"
        if case in found:
            report.aim(f"{case}: fastest peer / Duet", found[case].ratio, least=least)
    for case, both in found.items():
        if ", both, " in case:
            alone = found[case.replace("both", "rationale")]
            name = alone.best_of_ours
            report.aim(
                f"{case}: {name}, in times of the rationale alone",
                both.seconds[name] / alone.seconds[name],
                most=1.15,
            )


def add_questions(
    bench: Bench, checkpoint: Path, bundle: Path, questions: Sequence[str], folder: Path
) -> None:
    svamp.export(checkpoint, folder, bench.peers)
    measured = svamp.measure(
        checkpoint, folder, bundle, questions, bench.peers, bench.effort, bench.log
    )
    bench.report.add(
        f"svamp-mini on {len(questions)} SVAMP test questions, one by one",
        [],
        [
            comparison_table([measured.comparison]),
            WAYS,
            ways_table([measured.comparison]),
            f"With drafts, a step writes {measured.tokens_per_step:.2f} tokens of a text, and "
            f"{measured.tokens_per_request_step:.2f} of a request, whose label and rationale share "
            "steps.",
        ],
    )
    seconds, equal = measured.comparison.seconds, measured.comparison.equal
    bench.report.aim(
        "SVAMP, label and rationale: fastest peer / Duet with drafts",
        seconds[measured.comparison.best_peer] / seconds[svamp.DRAFTING],
        least=3.5,
    )
    bench.report.aim(
        "SVAMP: tokens of a text per step", measured.tokens_per_step, least=2.5, unit=""
    )
    same, texts = equal[svamp.DRAFTING]
    bench.report.aim("SVAMP: Duet's texts that are transformers'", same, least=texts, unit="")


def add_serving(bench: Bench, geometry: Geometry, folder: Path) -> None:
    ours, *others = served = serving.measure(geometry, folder, bench.peers, bench.effort, bench.log)
    rows = [
        (
            one.server,
            f"{one.requests}",
            f"{one.per_second:.1f}",
            milliseconds(one.p50),
            milliseconds(one.p99),
        )
        for one in served
    ]
    bench.report.add(
        f"Servers under load, {geometry.name}",
        [],
        [
            f"{serving.CLIENTS} concurrent clients; every other request asks to be explained, in "
            f"{geometry.rationale_tokens} tokens. LitServe batches dynamically, with the settings "
            "that were best for it. Duet runs without speculation.",
            table(("server", "requests", "requests/s", "p50, ms", "p99, ms"), rows),
        ],
    )
    for peer in others:
        bench.report.aim(
            "Under load: Duet's requests/s / LitServe's", ours.per_second / peer.per_second, least=3
        )
        bench.report.aim("Under load: Duet's p99 / LitServe's", ours.p99 / peer.p99, most=1)


def add_costs(bench: Bench, geometry: Geometry, folder: Path) -> None:
    report = bench.report
    bench.log("HTTP")
    http, engine = costs.http_overhead(geometry, folder, bench.effort)
    bench.log("start and memory")
    prints = [
        costs.footprint(geometry, folder, precision, bench.effort) for precision in PRECISIONS
    ]
    bench.log("steps")
    steps = costs.steps(geometry, folder, bench.effort)
    bandwidth = in_a_process(costs.memory_bandwidth)
    report.add(
        f"What it costs, {geometry.name}",
        [],
        [
            f"A label takes {milliseconds(http)} ms through HTTP, and {milliseconds(engine)} ms "
            "through the engine's own door.",
            table(
                ("bundle", "bundle, MB", "start to ready, s", "resident after load, MB"),
                [
                    (
                        one.precision,
                        f"{one.bundle / MEGABYTE:.0f}",
                        f"{one.ready:.2f}",
                        f"{one.resident / MEGABYTE:.0f}",
                    )
                    for one in prints
                ],
            ),
            f"Memory can be read at {bandwidth / 1e9:.1f} GB/s by 2 threads. A decoder step of one "
            "row reads all of the decoder's weights:",
            table(
                ("bundle", "step, ms", "weights, MB", "GB/s", "of the bandwidth"),
                [
                    (
                        step.precision,
                        f"{step.seconds * 1000:.2f}",
                        f"{step.weights / MEGABYTE:.0f}",
                        f"{step.weights / step.seconds / 1e9:.1f}",
                        f"{step.weights / step.seconds / bandwidth:.0%}",
                    )
                    for step in steps
                ],
            ),
        ],
    )
    report.aim("HTTP beyond the engine, median", (http - engine) * 1000, most=2, unit=" ms")
    for one in prints:
        place = f"{geometry.name}, {one.precision}"
        report.aim(f"{place}: start to ready", one.ready, most=3, unit=" s")
        report.aim(
            f"{place}: resident beyond twice the bundle",
            (one.resident - 2 * one.bundle) / MEGABYTE,
            most=150,
            unit=" MB",
        )
