"""The cascade: a rationale, then the answer, drawn from both the input and the rationale."""

from dataclasses import replace

from training.data.row import Example


def conclude(example: Example) -> Example:
    """Ends the rationale, where there is one, with the answer.

    The decoder so draws the answer from the input and its own rationale: the cascade of CasCoD
    (arXiv 2405.19842) in one pass, as MT-CoT (arXiv 2210.06726) writes it. CasCoD itself gives the
    predict pass the rationale as a part of its input, so no label could be had before a whole
    rationale is written. Here the label remains the predict pass's, evaluated and served as ever,
    and what the explain pass gains is that it concludes.
    """
    if example.rationale is None:
        return example
    return replace(example, rationale=f"{example.rationale} So the answer is {example.label}.")
