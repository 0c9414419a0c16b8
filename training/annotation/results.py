"""The results of all rows: annotated and failed rows, each in a file of JSON lines."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tasks.columns import Columns
from tasks.durable_files import replacing
from tasks.task import Task
from training.annotation.answer import Annotation
from training.annotation.answer_store import AnswerStore
from training.annotation.dialogue import Dialogue, Exchange, Failure
from training.annotation.rows import SourceRow
from training.annotation.vote import vote
from training.data.row import DataError, Row


@dataclass(frozen=True)
class Result:
    """The result of a row; `outcome` is None while its dialogue has not ended."""

    source: SourceRow
    exchanges: list[Exchange]  # one for each sample
    outcome: Annotation | Failure | None


def results(
    sources: Iterable[SourceRow],
    task: Task,
    samples: int,
    dialogue: Dialogue,
    store: AnswerStore,
    unanswered: Mapping[str, str],
) -> Iterator[Result]:
    """The result of each row, in order, from the stored answers alone.

    `unanswered` says, by a request's key, why it has no answer.
    """

    def sampled(row: Row, sample: int) -> Exchange:
        exchange = dialogue.exchange(row, sample, store.get)
        following = exchange.following
        if following is None or following.key not in unanswered:
            return exchange
        failure = Failure(f"unanswered: {unanswered[following.key]}", None)
        return replace(exchange, outcome=failure)

    for source in sources:
        exchanges = [sampled(source.row, sample) for sample in range(samples)]
        outcomes = [one.outcome for one in exchanges if one.outcome is not None]
        yield Result(source, exchanges, vote(outcomes, task) if len(outcomes) == samples else None)


def keys_of_failures(found: Iterable[Result]) -> set[str]:
    """The keys of all requests about failed rows."""
    return {
        request.key
        for result in found
        if isinstance(result.outcome, Failure)
        for exchange in result.exchanges
        for request in exchange.requests
    }


class ResultFiles:
    """Writes annotated rows to `out` and the others to `failed`. Each file is replaced as a whole.

    An annotated row has the values of its source. It adds `teacher_label`, `rationale` (a list if
    there are several), `agreement` where several samples vote, and `label_given`. The last is true
    where the teacher was told the label: such a row has no `teacher_label`. `columns` maps these
    names. Values of another run under these names are removed. Raises DataError where a name is
    mapped to several columns.
    """

    def __init__(
        self, out: Path, failed: Path, columns: Columns, *, several: bool, label_given: bool
    ) -> None:
        self._out, self._failed = out, failed
        self._several, self._label_given = several, label_given
        self._label, self._rationale = (
            _one_column(columns, name) for name in ("teacher_label", "rationale")
        )

    @contextmanager
    def writing(self, found: Iterable[Result]) -> Iterator[Iterator[Result]]:
        """Passes the results on as they are written. Rows without an outcome are not written."""
        with replacing(self._out) as annotated, replacing(self._failed) as failed:

            def each() -> Iterator[Result]:
                for result in found:
                    if isinstance(result.outcome, Annotation):
                        _write(annotated, self._annotated(result.source, result.outcome))
                    elif isinstance(result.outcome, Failure):
                        _write(failed, _failed(result.source, result.outcome))
                    yield result

            yield each()

    def _annotated(self, source: SourceRow, found: Annotation) -> dict[str, Any]:
        row = {
            name: value
            for name, value in source.values.items()
            if name not in (self._label, self._rationale, "agreement", "label_given")
            and not (name == "failed" and _is_failure(value))
        }
        rationales = found.rationales
        row[self._rationale] = rationales[0] if len(rationales) == 1 else [*rationales]
        if not self._label_given:
            row[self._label] = found.label
        if self._several:
            row["agreement"] = round(found.agreement, 4)
        return row | {"label_given": self._label_given}


def _one_column(columns: Columns, name: str) -> str:
    column = columns.get(name, name)
    if isinstance(column, list):
        raise DataError(
            f"data.columns.{name}: expected one column for the teacher's, found {len(column)}"
        )
    return column


def _is_failure(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"reason", "answer"}


def _failed(source: SourceRow, failure: Failure) -> dict[str, Any]:
    return source.values | {"failed": {"reason": failure.reason, "answer": failure.answer}}


def _write(file: BinaryIO, row: dict[str, Any]) -> None:
    try:
        line = json.dumps(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, in a column that is not read
        line = json.dumps(row, default=str).encode()
    file.write(line + b"\n")
