"""Short forms of `make soak` and `make test-overload`, without the bounds on memory and time."""

from pathlib import Path

from service.settings import EMBEDDED_STUDENT
from tests.soak import overload, soak
from tests.soak.traffic import OTHERS, PREDICTIONS
from tests.support.tiny_students import problems


def test_nothing_is_lost_or_wrong_near_capacity(tmp_path: Path) -> None:
    plan = soak.Plan(seconds=20, capacity_seconds=2, reload_every=5, texts=10)
    soaked = soak.run(tmp_path, plan)
    assert soaked.tally.faults == []
    assert {kind for kind, _ in soaked.tally.outcomes} >= PREDICTIONS.keys() | OTHERS.keys()
    for kind in PREDICTIONS:
        assert soaked.tally.outcomes[kind, "answered"]
        assert soaked.tally.outcomes[kind, "left"]
    assert soaked.loads
    assert soaked.sighups
    assert soaked.in_flight
    assert soaked.exit_status == 0


def test_overload_is_shed_and_recovered_from(tmp_path: Path) -> None:
    """Who is refused is told when to come again, and everyone else has the right answer."""
    plan = overload.Plan(
        seconds=3,
        student="The embedded student",
        bundle=EMBEDDED_STUDENT,
        texts=problems(10),
        calm_seconds=1,
        deadline=60,
        max_queue=32,
    )
    overloaded = overload.run(tmp_path, plan)
    assert overloaded.faults == []
    during = overloaded.during
    assert during.count("answered")
    assert during.count("overloaded")
    assert during.count("answered", "overloaded", "too late") == during.count()
    assert overloaded.live
