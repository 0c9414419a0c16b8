"""Contrastive pairs of a step whose rows do not fit into memory together."""

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states

from training.student.passes import IGNORED, Pairs, WholeBatch


class AccumulatedPairs:
    """The pairs of a step's parts, so that each part has the rows of all for negatives.

    As GradCache (arXiv 2101.06983): all parts' views are computed first, without gradients. Then
    each part is computed once more, with gradients and with the same dropout, among the others'
    views. The gradients of the parts add up to those of the whole step, for one more forward.
    """

    def __init__(self) -> None:
        self._pairs: list[Pairs] = []
        self._own: list[slice] = []  # in each of `_pairs`
        self._random: list[tuple[Tensor, tuple[list[int], list[Tensor]]]] = []
        self._current = -1

    def before_part(self) -> None:
        """Keeps the state of the random numbers that the next part's dropout is drawn from."""
        on_gpu = [torch.empty(0, device="cuda")] if torch.cuda.is_available() else []
        self._random.append((torch.get_rng_state(), get_device_states(*on_gpu)))

    def append(self, pairs: Pairs, own: slice) -> None:
        """Takes a part's pairs, of which `own` are this process's."""
        self._pairs.append(pairs)
        self._own.append(own)

    def begin_part(self) -> None:
        """Goes on to the next part, with the random numbers that it had before."""
        self._current += 1
        random, (devices, states) = self._random[self._current]
        torch.set_rng_state(random)
        set_device_states(devices, states)

    def whole_with(self, part: WholeBatch) -> WholeBatch:
        """The whole step's pairs, of which the current part's are `part`'s, with gradients."""
        assert part.pairs is not None
        parts = list(self._pairs)
        parts[self._current] = part.pairs
        starts = [0, *accumulate(len(pairs.usable) for pairs in parts)]
        rows = [
            torch.arange(start + own.start, start + own.stop, device=part.pairs.usable.device)
            for start, own in zip(starts, self._own, strict=False)
        ]
        before = sum(len(of_part) for of_part in rows[: self._current])
        return part._replace(
            pairs=_joined(parts),
            own=torch.cat(rows),
            of_part=slice(before, before + len(rows[self._current])),
        )


def _joined(parts: list[Pairs]) -> Pairs:
    longest = max(pairs.labels.shape[1] for pairs in parts)
    labels = [
        F.pad(pairs.labels, (0, longest - pairs.labels.shape[1]), value=IGNORED) for pairs in parts
    ]
    return Pairs(
        torch.cat([pairs.predict for pairs in parts]),
        torch.cat([pairs.explain for pairs in parts]),
        torch.cat(labels),
        torch.cat([pairs.usable for pairs in parts]),
    )
