"""The parity gate: a bundle's graphs must give the same results as transformers in fp32.

Graphs in fp32 must give the same tokens with the same probabilities. Graphs of a lower precision
must give the same labels, on rows that the student was not trained on.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from export.bundle import TOKENIZER
from export.reference import DecoderPrefixes, OnnxStudent
from tasks.placeholders import Codec
from tasks.task import Task
from training.student.decoding import generate, log_distributions
from training.student.files import StudentPass

TOLERANCE = 1e-4  # of log-probabilities, in fp32
LEAST_EQUAL_LABELS = 0.99  # a share of the rows, in lower precisions
MOST_ACCURACY_LOST = 0.005  # a share of the rows, in lower precisions
BATCH = 16

T = TypeVar("T")


class ParityError(RuntimeError):
    """The graphs and transformers give different results. The message shows the difference."""


@dataclass(frozen=True)
class Parity:
    """The gate's measurements in fp32, over `rows` inputs in each pass."""

    rows: int
    outputs: int
    equal: int
    near_ties: int  # outputs whose first difference is between equally probable tokens
    max_logprob_difference: float
    logprob_tolerance: float = TOLERANCE


@dataclass(frozen=True)
class LabelParity:
    """The gate's measurements in lower precisions, over `rows` inputs in each pass."""

    rows: int
    equal_labels: int
    accuracy: float  # of the graphs' labels
    reference_accuracy: float  # of transformers' labels
    equal_rationales: int | None  # for information; None without an explain pass
    max_logprob_difference: float  # for information
    least_equal_labels: float = LEAST_EQUAL_LABELS
    most_accuracy_lost: float = MOST_ACCURACY_LOST


class OutputPair(NamedTuple):
    """The greedy tokens of the graphs and of transformers for one prompt."""

    prompt: str
    ours: list[int]
    theirs: list[int]
    near_tie: bool  # see `is_near_tie`
    difference: float  # the largest difference of log-probabilities, over the tokens of `theirs`


def check_parity(
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    student: OnnxStudent,
    texts: Sequence[str],
    passes: Sequence[StudentPass],
    explain_given_label: bool = False,
) -> Parity:
    """Compares greedy tokens and their log-probabilities on `texts`, in each pass.

    With `explain_given_label`, the label from transformers is both decoders' prefix. The compared
    log-probabilities (nats) are of transformers' greedy tokens. Raises ParityError if input tokens
    differ, if outputs differ by more than a near tie, or if log-probabilities differ by more than
    TOLERANCE.
    """
    near_ties = 0
    wrong: list[OutputPair] = []
    differences: list[float] = []
    prefixes: list[list[int]] | None = None
    for one in passes:
        compared = list(compare(model, tokenizer, student, texts, one, prefixes))
        prefixes = [output.theirs for output in compared] if explain_given_label else None
        for output in compared:
            differences.append(output.difference)
            if output.ours == output.theirs:
                continue
            if output.near_tie:
                near_ties += 1
            else:
                wrong.append(output)
    outputs = len(differences)
    if wrong:
        raise ParityError(
            f"{len(wrong)} of {outputs} greedy outputs differ; "
            f"the first is for {_difference(student, wrong[0])}"
        )
    difference = float(np.max(differences))
    if not difference <= TOLERANCE:  # also if it is NaN
        raise ParityError(
            f"token log-probabilities differ by up to {difference:.2g}, more than {TOLERANCE:.0e}"
        )
    return Parity(len(texts), outputs, outputs - near_ties, near_ties, difference)


def check_labels(
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    student: OnnxStudent,
    task: Task,
    rows: Sequence[tuple[Codec, str]],
    passes: Sequence[StudentPass],
) -> LabelParity:
    """Compares the outputs on `rows`, each with an input's codec and its right label.

    `passes` are the predict pass, and the explain pass if the student explains.

    Raises ParityError if less than LEAST_EQUAL_LABELS of the labels are equal, or if the graphs'
    accuracy is more than MOST_ACCURACY_LOST below that of transformers.
    """
    texts = [codec.text for codec, _ in rows]
    predict, *explain = passes
    labels = list(compare(model, tokenizer, student, texts, predict))
    prefixes = [output.theirs for output in labels] if task.explain_given_label else None
    rationales = [
        output
        for one in explain
        for output in compare(model, tokenizer, student, texts, one, prefixes)
    ]

    def right(outputs: Iterable[list[int]]) -> int:
        written = map(student.text, outputs)
        return sum(
            task.is_right(codec.unmask_label(ours), label)
            for ours, (codec, label) in zip(written, rows, strict=True)
        )

    different = [output for output in labels if output.ours != output.theirs]
    ours = right(output.ours for output in labels)
    theirs = right(output.theirs for output in labels)
    parity = LabelParity(
        rows=len(rows),
        equal_labels=len(rows) - len(different),
        accuracy=ours / len(rows),
        reference_accuracy=theirs / len(rows),
        equal_rationales=sum(output.ours == output.theirs for output in rationales)
        if explain
        else None,
        max_logprob_difference=max(output.difference for output in labels + rationales),
    )
    if parity.equal_labels / parity.rows < LEAST_EQUAL_LABELS:
        raise ParityError(
            f"{len(different)} of {parity.rows} labels differ, but {LEAST_EQUAL_LABELS:.0%} must "
            f"be equal; the first is for {_difference(student, different[0])}"
        )
    if (theirs - ours) / len(rows) > MOST_ACCURACY_LOST:
        raise ParityError(
            f"{ours} of {parity.rows} labels are right, but {theirs} of transformers'; at most "
            f"{MOST_ACCURACY_LOST:.1%} of the rows may be lost"
        )
    return parity


def compare(
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    student: OnnxStudent,
    texts: Sequence[str],
    one: StudentPass,
    decoder_prefixes: DecoderPrefixes | None = None,
) -> Iterator[OutputPair]:
    """Decodes `texts` in one pass with both, and scores transformers' tokens with both.

    Raises ParityError if the tokens of an input differ.
    """
    prompts = [one.prefix + text for text in texts]
    prefixes = decoder_prefixes or [[]] * len(prompts)
    for batch, some in zip(batches(prompts), batches(prefixes), strict=True):
        input_ids = _tokens(tokenizer, student, batch)
        expected = [tokens for tokens, _ in generate(model, input_ids, one.max_new_tokens, some)]
        tables = log_distributions(model, input_ids, expected, some)
        actual = student.generate(batch, one.max_new_tokens, some)
        scores = student.score(batch, expected, some)
        for prompt, ours, theirs, table, score in zip(
            batch, actual, expected, map(np.asarray, tables), scores, strict=True
        ):
            difference = np.abs(table[np.arange(len(theirs)), theirs] - score).max()
            near_tie = is_near_tie(ours, theirs, table)
            yield OutputPair(prompt, ours, theirs, near_tie, float(difference))


def is_near_tie(ours: Sequence[int], theirs: Sequence[int], logprobs: np.ndarray) -> bool:
    """Whether the first tokens that differ are equally probable, within TOLERANCE.

    `logprobs` [T,V] are the log-probabilities of the vocabulary at each token of `theirs`.
    """
    for place, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        if mine != other:
            return bool(abs(logprobs[place, mine] - logprobs[place, other]) <= TOLERANCE)
    return False


def _difference(student: OnnxStudent, output: OutputPair) -> str:
    return (
        f"{output.prompt!r}: transformers says {student.text(output.theirs)!r} {output.theirs}, "
        f"the graphs {student.text(output.ours)!r} {output.ours}"
    )


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yields batches of at most BATCH items, which need little padding and memory."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _tokens(
    tokenizer: PreTrainedTokenizerBase, student: OnnxStudent, prompts: Sequence[str]
) -> list[list[int]]:
    """The prompts' tokens. Raises ParityError if the two tokenizers differ."""
    limit = student.tokenizer.truncation["max_length"]
    expected = tokenizer(list(prompts), truncation=True, max_length=limit)["input_ids"]
    for prompt, ours, theirs in zip(prompts, student.tokens(prompts), expected, strict=True):
        if ours != theirs:
            raise ParityError(
                f"the tokens of {prompt!r} are {theirs} in transformers, "
                f"but {ours} in the bundle's {TOKENIZER}"
            )
    return expected
