"""A dialogue with the teacher: a question, and a second try that says what was wrong.

A dialogue depends only on the answers so far. So the same code chooses the next request, goes on
after a stop, and makes the output from the stored answers alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tasks.task import Task
from training.annotation.answer import Annotation, Parser
from training.annotation.completion import Answered, Request
from training.annotation.prompt import ANSWER, Message, Prompt
from training.data.completions import Unparsed
from training.data.row import DataError, Row

REPAIRS = 1  # times that a teacher is told what was wrong with its answer

_REPAIR_TEXT = (
    "This cannot be used: {reason}. Give the reasoning again, then a last line of its own that "
    f'begins with "{ANSWER}", and nothing after it.'
)
_REPAIR_JSON = "This cannot be used: {reason}. Reply again, with a JSON object alone, as before."

_ENDS = {  # by finish_reason: why an answer cannot be used
    "length": "answer cut off at the limit of tokens",
    "content_filter": "answer withheld by a filter",
    "refusal": "answer refused by the model",
}


@dataclass(frozen=True)
class Failure:
    """Why nothing that a teacher said can be used, and its last answer."""

    reason: str
    answer: str | None


@dataclass(frozen=True)
class Exchange:
    """The requests about a row so far. Without an outcome, the last one has no answer yet."""

    requests: list[Request]
    outcome: Annotation | Failure | None

    @property
    def following(self) -> Request | None:
        """The request to make next."""
        return self.requests[-1] if self.outcome is None else None


class Dialogue:
    """Asks about rows with one prompt, one model and its settings.

    `settings` replace keys of each request's body; None removes a key.
    """

    def __init__(
        self,
        task: Task,
        prompt: Prompt,
        model: str,
        settings: dict[str, Any],
        *,
        as_json: bool,
        given_label: bool,
    ) -> None:
        self.given_label = given_label
        self._task, self._prompt, self._as_json = task, prompt, as_json
        self._model, self._settings = model, settings
        self._opening = prompt.opening(as_json=as_json, given_label=given_label)
        self._parser = Parser(
            task, prompt.constant_texts(), as_json=as_json, given_label=given_label
        )

    def exchange(self, row: Row, sample: int, answered: Answered) -> Exchange:
        """The requests about a row, and their outcome.

        Each sample of a row is a dialogue of its own. Raises DataError where the prompt's template
        fails on the row.
        """
        if self.given_label and row.label is None:
            return Exchange([], Failure("row without a label to explain", None))
        try:
            asked = self._prompt.ask(row.input, row.label if self.given_label else None)
        except Exception as error:  # a template is data: it may raise whatever it likes
            raise DataError(f"{row.place}: the prompt's question fails: {error}") from error
        messages = [*self._opening, asked]
        requests: list[Request] = []
        failure = Failure("", None)
        for _ in range(1 + REPAIRS):
            requests.append(self._request(row, messages, sample))
            if (completion := answered(requests[-1].key)) is None:
                return Exchange(requests, None)
            if completion.text is None:
                return Exchange(requests, Failure(f"refused: {completion.refused}", None))
            try:
                if completion.finish_reason in _ENDS:
                    raise Unparsed(_ENDS[completion.finish_reason])
                return Exchange(requests, self._parser.parse(completion.text, row))
            except Unparsed as reason:
                failure = Failure(str(reason), completion.text)
            messages = [*messages, *self._repair(failure)]
        return Exchange(requests, failure)

    def to_ask(
        self, rows: Iterable[Row], samples: int, answered: Answered
    ) -> Iterator[tuple[Row, dict[int, Request]]]:
        """Each row with its next requests, by sample; none for a finished row.

        Rows with the same text are asked about once.
        """
        seen = set[str]()
        for row in rows:
            exchanges = [self.exchange(row, sample, answered) for sample in range(samples)]
            following = {n: one.following for n, one in enumerate(exchanges) if one.following}
            firsts = {one.requests[0].key for one in exchanges if one.requests}
            yield row, {} if firsts & seen else following
            seen |= firsts

    def _request(self, row: Row, messages: list[Message], sample: int) -> Request:
        body: dict[str, Any] = {"model": self._model, "messages": messages}
        if self._as_json:
            body["response_format"] = self._schema(row)
        body = {k: v for k, v in (body | self._settings).items() if v is not None}
        return Request.of(body, sample)

    def _repair(self, failure: Failure) -> list[Message]:
        form = _REPAIR_JSON if self._as_json else _REPAIR_TEXT
        return [
            {"role": "assistant", "content": failure.answer or "…"},  # no message may be empty
            {"role": "user", "content": form.format(reason=failure.reason)},
        ]

    def _schema(self, row: Row) -> dict[str, Any]:
        labels = self._task.labels_of(row.input)
        label = (
            {"type": "string"}
            if labels is None
            else {"type": "string", "enum": list(dict.fromkeys(labels))}
        )
        return {
            "type": "json_schema",
            "json_schema": {
                "name": "annotation",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"rationale": {"type": "string"}, "label": label},
                    "required": ["rationale", "label"],  # the reasoning first
                    "additionalProperties": False,
                },
            },
        }
