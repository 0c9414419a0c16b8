"""Made-up evaluations and their reports, for tests, with hostile text in every place."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tasks.task import Task
from tests.support.prediction_records import closed_records, softmax
from training.evaluation.evaluation import evaluate
from training.evaluation.predictions import PREDICTIONS, RUN
from training.evaluation.record import Record
from training.evaluation.temperature import fit_temperature
from training.reports.report import EvaluationReport, versions, write_evaluation

HOSTILE = (
    "<script>document.title = 'taken'</script><img src=x onerror=alert(1)> | `a` *b* & ```\n# c"
)
LABELS = ["yes", f"no {HOSTILE}", "perhaps"]
TASK = Task(name="hostile", fields=["text"], template="{{text}}", labels=LABELS)


def made_records(seed: int, rows: int = 90) -> list[Record]:
    """Records of the same rows for every seed. The seed draws the answers."""
    gold = np.arange(rows) % len(LABELS)
    logits = np.random.default_rng(seed).normal(size=(rows, len(LABELS)))
    logits[np.arange(rows), gold] += 1
    return [
        replace(
            record,
            input={"text": f"{HOSTILE} {record.index}"},
            text=f"{HOSTILE} {record.index}",
            rationale=f"{HOSTILE} So it is {LABELS[record.index % 2]}.",
            reference=f"{HOSTILE} So it is yes.",
            truncated=record.index % 5 == 0,
        )
        for record in closed_records(softmax(2 * logits), gold, LABELS)
    ]


def write_report(folder: Path, seed: int = 0, **changes: Any) -> EvaluationReport:
    """Writes a finished evaluation to `folder`. `changes` apply to every record."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [replace(record, **changes) for record in made_records(seed)]
    lines = [json.dumps(asdict(record)) for record in records]
    (folder / PREDICTIONS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = {
        "model": {
            "source": f"models/{seed}",
            "name": f"student-{seed} {HOSTILE}",
            "version": "1",
            "checksum": f"{seed:064}",
        },
        "data": {"source": f"rows.jsonl {HOSTILE}", "rows": str(len(records)), "sha256": "ab" * 32},
    }
    (folder / RUN).write_text(json.dumps(run), encoding="utf-8")
    fitted = fit_temperature(made_records(seed + 100))
    report = EvaluationReport(
        run,
        TASK,
        f"python evaluate.py {HOSTILE}",
        versions(),
        evaluate(records, TASK, temperature=fitted),
    )
    write_evaluation(folder, report)
    return report
