"""How long texts are in the student's tokens, and the limits that leave room for longer ones."""

from dataclasses import dataclass
from typing import Final

from transformers import PreTrainedTokenizerBase

from tasks.task import Task
from training.data.batches import TokenizedExamples
from training.student.files import Example

# What a limit is: so many times the longest text, and at most so many tokens. The inputs that a
# service gets may be longer than those of the rows.
ROOM: Final = {"input": 2.0, "label": 1.25, "rationale": 1.5}
LARGEST: Final = {"input": 1024, "label": 256, "rationale": 256}
_FREE: Final = 2**31  # no limit


@dataclass(frozen=True)
class Lengths:
    """The tokens of one kind of text: the median, the longest, the limit, and who is cut."""

    median: int
    longest: int
    limit: int
    cut: int  # texts that are longer than the limit
    texts: int


def measure_lengths(
    task: Task, examples: list[Example], tokenizer: PreTrainedTokenizerBase
) -> dict[str, Lengths]:
    """The lengths of the inputs, labels and rationales of examples, by these names.

    Without a rationale in any example, there is no "rationale".
    """
    rows = TokenizedExamples(
        examples,
        task,
        tokenizer,
        max_input_tokens=_FREE,
        max_label_tokens=_FREE,
        max_rationale_tokens=_FREE,
    )
    names = {"input": "explain_input", "label": "label", "rationale": "rationale"}
    found = {}
    for name, column in names.items():
        sizes = sorted(len(ids) for ids in rows.columns[column] if ids)
        if name == "label" and isinstance(task.labels, list):
            sizes += [len(ids) for ids in tokenizer(task.labels)["input_ids"]]
        if sizes:
            limit = min(LARGEST[name], _in_eights(max(sizes) * ROOM[name]))
            cut = sum(size > limit for size in sizes)
            found[name] = Lengths(sizes[len(sizes) // 2], max(sizes), limit, cut, len(sizes))
    return found


def _in_eights(tokens: float) -> int:
    return int(-(-tokens // 8) * 8)
