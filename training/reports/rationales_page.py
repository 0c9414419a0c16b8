"""The part of a page on rationales: their health, their words, and the rows' own."""

from collections.abc import Sequence

from training.evaluation.evaluation import Mean, Rationales
from training.evaluation.health import FAULTS
from training.reports.page import (
    A_TENTH,
    NONE,
    Section,
    Table,
    form,
    interval,
    interval_text,
    percent,
)

HEALTH = {"healthy": "healthy: none of the faults below", **FAULTS}
MEASURES = {
    "agrees": "conclusions that agree with the model's own label",
    "concludes_gold": "conclusions that are the gold label",
    "input_numbers_used": "numbers of the input that are used",
    "numbers_grounded": "numbers that come from the input, or from a calculation",
    "input_words_used": "content words of the input that are used",
    "input_names_used": "names of the input that are used",
    "names_grounded": "names that come from the input",
    "repetition": "repeated 4-grams",
    "distinct_1": "different words of all words",
    "distinct_2": "different pairs of words of all pairs",
}
OVERLAPS = {
    "bleu": ("BLEU, of 100", "1"),
    "chrf": ("chrF, of 100", "1"),
    "rouge_1": ("ROUGE-1, of 100", "1"),
    "rouge_2": ("ROUGE-2, of 100", "1"),
    "rouge_l": ("ROUGE-L, of 100", "1"),
    "similarity": ("cosine of the embeddings", "3"),
}
SCORES = {
    "agrees": "its conclusion agrees with the label (0 or 1)",
    "true_statements": "share of its arithmetic that is true",
    "chrf": "chrF with the row's own",
    "similarity": "similarity to the row's own",
    "judge": "the judge's score (1 to 5)",
}


def rationales_section(found: Rationales) -> Section:
    tables = rationale_tables({"": found})
    notes = []
    if (judged := found.judged) is not None:
        notes.append(
            f"The judge {judged.model} scored the rationales from 1 to 5: "
            f"{form('2', judged.mean.value)} on average"
            f"{interval_text(judged.mean, '2')}; {judged.unjudged} are unjudged."
        )
        counts = [(str(score), str(count)) for score, count in judged.scores.items()]
        tables.append(Table(("the judge's score", "rationales"), counts))
    correlated = {
        key: one
        for key, one in found.correlations.items()
        if one.point_biserial.value is not None  # not where all rows are right, or none
    }
    if correlated:
        head = ("correlation with being right", "rows", "mean if right", "if wrong")
        rows = [
            (
                SCORES[key],
                str(one.rows),
                form("2", one.mean_of_right),
                form("2", one.mean_of_wrong),
                form("+2", one.point_biserial.value),
                interval(one.point_biserial, "+2"),
                form("+2", one.spearman.value),
                interval(one.spearman, "+2"),
            )
            for key, one in correlated.items()
        ]
        tables.append(Table((*head, "Pearson", "95 % interval", "Spearman", "95 % interval"), rows))
    return Section("Rationales", notes, tables)


def rationale_tables(columns: dict[str, Rationales]) -> list[Table]:
    """Measures of one model's rationales, or of several side by side."""

    def row(name: str, kind: str, means: Sequence[Mean]) -> tuple[str, ...]:
        cells = (cell for mean in means for cell in (form(kind, mean.value), str(mean.count)))
        return (name, *cells)

    every = [*columns.values()]
    tables = _health_table(columns)
    rows = [
        row(name, "%", [one.measures[key] for one in every])
        for key, name in MEASURES.items()
        if any(one.measures[key].count for one in every)
    ]
    if any(one.true_statements.count for one in every):
        name = "arithmetic statements that are true"
        rows.insert(0, row(name, "%", [one.true_statements for one in every]))
    rows.append(row("words of a rationale", "1", [one.measures["words"] for one in every]))
    head = [cell for name in columns for cell in (name or "share", "of")]
    tables.append(Table(("by their own words", *head), rows))
    overlaps = [one.overlap for one in every]
    if any(one is not None for one in overlaps):
        rows = [
            (name, *(form(kind, getattr(one, key, None)) for one in overlaps))
            for key, (name, kind) in OVERLAPS.items()
            if any(getattr(one, key, None) is not None for one in overlaps)
        ]
        compared = ", ".join(dict.fromkeys(str(one.with_reference) for one in every))
        head = [name or "score" for name in columns]
        tables.append(Table((f"beside the rows' own ({compared} rows)", *head), rows))
    return tables


def health_verdict(shares: dict[str, float]) -> str:
    """One sentence on the shares of `health_shares`, with the most frequent fault."""
    line = f"{percent(shares['healthy'])} of its rationales are healthy"
    faults = {name: share for name, share in shares.items() if name != "healthy"}
    worst = max(faults, key=lambda name: faults[name])
    if faults[worst] < A_TENTH:
        return f"{line}."
    return f"{line}; the most frequent fault: {HEALTH[worst]} ({percent(faults[worst])})."


def _health_table(columns: dict[str, Rationales]) -> list[Table]:
    """The health of the models' rationales, and of the rows' own, which are the same for all."""
    found = {
        name or "the model": (one.health, percent(one.equal_reference.value))
        for name, one in columns.items()
    }
    found["the rows' own"] = (next(iter(columns.values())).reference_health, NONE)
    found = {name: pair for name, pair in found.items() if pair[0]}
    if not found:
        return []
    rows = [
        (title, *(percent(shares[name]) for shares, _ in found.values()))
        for name, title in HEALTH.items()
    ]
    if "the rows' own" in found:
        rows.append(("the row's own, word for word", *(same for _, same in found.values())))
    return [Table(("health: share of all rationales", *found), rows)]
