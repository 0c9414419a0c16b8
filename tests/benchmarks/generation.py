"""Case (a): T5 geometries with random weights, without speculation."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, get_args

from tokenizers import Tokenizer

from tests.benchmarks.comparison import Comparison, compare
from tests.benchmarks.duet import Duet
from tests.benchmarks.effort import Effort
from tests.benchmarks.geometry import LABEL_TOKENS, Geometry
from tests.benchmarks.layout import CHECKPOINT, CTRANSLATE2_TYPES, OPTIMUM, PRECISIONS
from tests.benchmarks.runtimes import CTranslate2, Optimum, Transformers
from tests.benchmarks.work import Wants, work_on
from tests.benchmarks.workers import Workers, in_a_process


def peers_of(checkpoint: Path, folder: Path, peers: Collection[str]) -> dict[str, tuple[Any, ...]]:
    """The makers of the peers of a checkpoint, from a folder that `exports` filled.

    transformers, the reference, comes first.
    """
    makers: dict[str, tuple[Any, ...]] = {"transformers": (Transformers, checkpoint)}
    if "optimum" in peers:
        makers["Optimum"] = (Optimum, checkpoint, folder / OPTIMUM)
    if "ctranslate2" in peers:
        for kind in CTRANSLATE2_TYPES:
            makers[f"CTranslate2 {kind}"] = (CTranslate2, checkpoint, folder / kind, kind)
    return makers


def duet_of(folder: Path, precision: str) -> tuple[Any, ...]:
    closed = folder / f"{precision}-closed"
    bundles: dict[Wants, Path] = {
        "label": closed,
        "rationale": folder / f"{precision}-open",
        "both": closed,
    }
    return (Duet, bundles, False)


def export(geometry: Geometry, folder: Path, peers: Collection[str]) -> None:
    """Fills `folder` with what the peers load, in a process of its own, because it needs torch."""
    in_a_process(_export, geometry, folder, peers)


def _export(geometry: Geometry, folder: Path, peers: Collection[str]) -> None:
    from tests.benchmarks.exports import export_random

    export_random(geometry, folder, peers)


def measure(
    geometry: Geometry,
    folder: Path,
    peers: Collection[str],
    effort: Effort,
    log: Callable[[str], None],
) -> list[Comparison]:
    tokenizer = Tokenizer.from_file(str(folder / CHECKPOINT / "tokenizer.json"))
    cases = {
        f"{geometry.name}, {wants}, batch {batch}": work_on(
            tokenizer,
            geometry.texts(batch),
            wants,
            label_tokens=LABEL_TOKENS,
            rationale_tokens=geometry.rationale_tokens,
            candidates=geometry.candidates(),
            exact=True,
        )
        for batch in effort.batches
        for wants in get_args(Wants)
    }
    makers = peers_of(folder / CHECKPOINT, folder, peers)
    makers |= {f"Duet {precision}": duet_of(folder, precision) for precision in PRECISIONS}
    with Workers(makers) as workers:
        return compare(workers, cases, effort, log)
