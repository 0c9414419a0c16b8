"""Contrastive pairs of a step that is computed in parts, as its rows do not fit into memory."""

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states

from training.student.passes import IGNORED, Pairs, WholeBatch


class AccumulatedPairs:
    """The pairs of a step's parts. Each part has the rows of all parts as negatives.

    As in GradCache (arXiv 2101.06983), the views of all parts are computed first, without
    gradients. Then each part is computed again, with gradients and the same dropout, among the
    views of the others. The parts' gradients add up to those of the whole step. The cost is one
    more forward pass.
    """

    def __init__(self) -> None:
        self._pairs: list[Pairs] = []
        self._own: list[slice] = []  # in each of `_pairs`
        self._random: list[tuple[Tensor, tuple[list[int], list[Tensor]]]] = []
        self._current = -1

    def before_part(self) -> None:
        """Keeps the random state from which the next part's dropout is drawn."""
        on_gpu = [torch.empty(0, device="cuda")] if torch.cuda.is_available() else []
        self._random.append((torch.get_rng_state(), get_device_states(*on_gpu)))

    def append(self, pairs: Pairs, own: slice) -> None:
        """Takes the pairs of a part; `own` are this process's rows."""
        self._pairs.append(pairs)
        self._own.append(own)

    def begin_part(self) -> None:
        """Goes on to the next part, and restores its random state."""
        self._current += 1
        random, (devices, states) = self._random[self._current]
        torch.set_rng_state(random)
        set_device_states(devices, states)

    def whole_with(self, part: WholeBatch) -> WholeBatch:
        """The whole step's batch. The current part's pairs are those of `part`, with gradients."""
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
