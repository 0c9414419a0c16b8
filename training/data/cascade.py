"""The cascade: the answer follows the rationale, and is drawn from it and from the input."""

from dataclasses import replace

from training.student.files import Example


def conclude(example: Example) -> Example:
    """The example with its answer at the end of its rationale; without a rationale, as it is.

    The decoder thus draws the answer from the input and from its own rationale. This is the cascade
    of CasCoD (arXiv 2405.19842) in one pass, in the form of MT-CoT (arXiv 2210.06726). CasCoD reads
    the rationale in its predict pass, so a label must wait for a whole rationale. Here the predict
    pass still gives the label, and only the explain pass learns to conclude.
    """
    if example.rationale is None:
        return example
    return replace(example, rationale=f"{example.rationale} So the answer is {example.label}.")
