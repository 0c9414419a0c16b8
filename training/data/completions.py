"""A teacher's completions: the rationale before a phrase, the label after it."""

import re

_LETTERED = re.compile(r"\([a-z]\)")  # the name of a choice


class Unparsed(ValueError):
    """A completion gives no rationale and label. The message is the reason."""


def split_at(completion: str, phrase: str) -> tuple[str, str]:
    """The text before the last `phrase`, and the line after it without its full stop.

    Raises Unparsed if one of them is missing.
    """
    rationale, found, answer = completion.rpartition(phrase)
    answer = answer.strip().split("\n")[0].strip().rstrip(".").rstrip()
    if not found or not answer:
        raise Unparsed("completion without an answer")
    if not rationale.strip():
        raise Unparsed("completion without a rationale")
    return rationale.strip(), answer


def one_of(answer: str, labels: list[str]) -> str:
    """The label that an answer names; case and a full stop do not count. Raises Unparsed."""
    if (exact := answer.strip()) in labels:  # two labels may differ only in case
        return exact
    for label in labels:
        if label.rstrip(".").casefold() == answer.strip().rstrip(".").casefold():
            return label
    raise Unparsed("completion whose answer is none of the labels")


def choice(answer: str, labels: list[str]) -> str:
    """The label that an answer such as "(b) river bank" names. Raises Unparsed."""
    if len(_LETTERED.findall(answer)) > 1:
        raise Unparsed("completion that answers with several choices")
    return one_of(_LETTERED.sub("", answer, count=1) if _LETTERED.match(answer) else "", labels)
