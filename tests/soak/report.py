"""The report of a run: a table of its requests, and its aims."""

from typing import Any

from tests.benchmarks.machine import processor
from tests.benchmarks.report import Report
from tests.soak.caller import Tally
from tests.soak.overload import Overload
from tests.soak.overload import Plan as OverloadPlan
from tests.soak.soak import Soak
from training.reports.markdown import table

MEGABYTE = 2**20
GROWTH = 5  # % that memory may grow
REFUSED_WITHIN = 50  # ms, the median
SLOWER = 2  # times the median latency before the overload: still normal
GRACE_PERIOD = 10  # seconds, the service's default


def report_soak(soak: Soak) -> tuple[Report, dict[str, Any]]:
    """The report for people, and the same as data for programs."""
    tally, exit_status = soak.tally, soak.exit_status
    first, end = soak.memory_after(min(60, soak.seconds / 2)), soak.memory_after(soak.seconds - 60)
    facts = {
        "seconds": round(soak.seconds, 1),
        "capacity_per_second": round(soak.capacity, 1),
        "rate_per_second": round(soak.rate, 1),
        "requests": _by_kind(tally),
        "latency_ms": _centiles(tally, "answered"),
        "loads": soak.loads,
        "sighups": soak.sighups,
        "memory_mb": {
            "after_first_minute": round(first / MEGABYTE, 1),
            "at_end": round(end / MEGABYTE, 1),
            "most": round(max(size for _, size in soak.memory) / MEGABYTE, 1),
        },
        "in_flight_at_sigterm": soak.in_flight,
        "seconds_to_exit": round(soak.stop_seconds, 2),
        "exit_status": exit_status,
    }
    outcomes = sorted({outcome for _, outcome in tally.outcomes})
    rows = [
        (kind, *(f"{found.get(outcome, 0):,}" for outcome in outcomes))
        for kind, found in _by_kind(tally).items()
    ]
    latency, memory = facts["latency_ms"], facts["memory_mb"]
    report = Report(f"{processor()}.")
    report.add(
        "Soak",
        [
            f"{tally.count():,} requests in {soak.seconds:.0f} seconds, {soak.rate:.0f} a second; "
            f"capacity is the {soak.capacity:.0f} that 32 clients without a pause got answered. "
            f"{soak.loads} loads of models by request, {soak.sighups} by SIGHUP. Answers took "
            f"{latency['p50']:.0f} ms in the median, p99 {latency['p99']:.0f} ms. "
            f"Resident memory: {memory['after_first_minute']:.0f} MB in the second minute, "
            f"{memory['at_end']:.0f} MB in the last, {memory['most']:.0f} MB at most. "
            f"At SIGTERM {soak.in_flight} requests were in flight; exit status {exit_status} after "
            f"{soak.stop_seconds:.1f} s.",
            table(("requests", *outcomes), rows),
        ],
    )
    report.aim("wrong answers", tally.count("wrong"), most=0, unit="")
    report.aim("lost requests", tally.count("lost"), most=0, unit="")
    report.aim("other faults", len(tally.faults), most=0, unit="")
    report.aim("memory grown by", 100 * (end / first - 1), most=GROWTH, unit=" %")
    report.aim("requests in flight at SIGTERM", soak.in_flight, least=1, unit="")
    report.aim("exit after SIGTERM", soak.stop_seconds, most=GRACE_PERIOD, unit=" s")
    report.aim("exit status", -1 if exit_status is None else abs(exit_status), most=0, unit="")
    return report, facts


def report_overload(overload: Overload, plan: OverloadPlan) -> tuple[Report, dict[str, Any]]:
    """The report for people, and the same as data for programs."""
    phases = {"before": overload.before, "overload": overload.during, "after": overload.after}
    facts = {
        "capacity_per_second": round(overload.capacity, 1),
        "rate_per_second": round(overload.rate, 1),
        "deadline_seconds": plan.deadline,
        "requests": {name: _by_kind(tally) for name, tally in phases.items()},
        "answered_ms": {name: _centiles(tally, "answered") for name, tally in phases.items()},
        "refused_ms": _centiles(overload.during, "overloaded"),
        "livez": {"asked": len(overload.live), "most_ms": round(1000 * max(overload.live), 1)},
    }
    rows = [
        (
            name,
            *(f"{tally.count(*wanted):,}" for wanted in (("answered",), ("overloaded",))),
            f"{tally.count() - tally.count('answered', 'overloaded'):,}",
            *(f"{1000 * tally.centile('answered', share):,.0f}" for share in (0.5, 0.99)),
            *(f"{1000 * tally.centile('overloaded', share):,.1f}" for share in (0.5, 0.99)),
        )
        for name, tally in phases.items()
    ]
    report = Report(f"{processor()}.")
    report.add(
        "Overload",
        [
            f"{plan.student} answers {overload.capacity:.0f} requests a second to 32 clients "
            f"without a pause. In an open loop it is offered half of that, {overload.rate:.0f} a "
            f"second for {plan.seconds:.0f} seconds, and, from {plan.recovery:g} seconds later on, "
            f"half of it again. The load comes from a process on the same cores.",
            table(
                (
                    "",
                    *("answered", "429", "otherwise", "answered: p50, ms", "p99, ms"),
                    *("429: p50, ms", "p99, ms"),
                ),
                rows,
            ),
        ],
    )
    during, before, after = overload.during, overload.before, overload.after
    report.aim("offered, in capacities", overload.rate / overload.capacity, least=0.95 * plan.times)
    report.aim(
        "p99 of the answered", during.centile("answered", 0.99), most=plan.deadline, unit=" s"
    )
    others = during.count() - during.count("answered", "overloaded")
    report.aim("neither answered nor 429", others, most=0, unit="")
    refused = 1000 * during.centile("overloaded", 0.5)
    report.aim("429, median", refused, most=REFUSED_WITHIN, unit=" ms")
    report.aim("faults, /livez other than 200 included", len(overload.faults), most=0, unit="")
    report.aim(
        f"answered from {plan.recovery:g} s after it on",
        100 * after.count("answered") / max(1, after.count()),
        least=100,
        unit=" %",
    )
    slower = after.centile("answered", 0.5) / max(1e-9, before.centile("answered", 0.5))
    report.aim("median latency then, to that before", slower, most=SLOWER)
    return report, facts


def _by_kind(tally: Tally) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (kind, outcome), count in sorted(tally.outcomes.items()):
        found.setdefault(kind, {})[outcome] = count
    return found


def _centiles(tally: Tally, outcome: str) -> dict[str, float]:
    return {f"p{share}": round(1000 * tally.centile(outcome, share / 100), 1) for share in (50, 99)}
