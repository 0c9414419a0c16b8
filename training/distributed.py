"""What processes that train together tell each other."""

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from training.batches import IGNORED
from training.passes import Pairs


def gather_pairs(pairs: Pairs) -> tuple[Pairs, int]:
    """The rows of all processes, in their order, and where this one's begin.

    Gradients flow back through it to the process that a row came from. Every process must bring
    as many rows.
    """
    group = torch.distributed.group.WORLD
    width = torch.tensor(pairs.labels.shape[1], device=pairs.labels.device)
    torch.distributed.all_reduce(width, torch.distributed.ReduceOp.MAX, group)
    padding = int(width) - pairs.labels.shape[1]
    labels = torch.nn.functional.pad(pairs.labels, (0, padding), value=IGNORED)
    gathered = Pairs(
        torch.cat(all_gather(pairs.predict)),
        torch.cat(all_gather(pairs.explain)),
        _gathered(labels),
        _gathered(pairs.usable),
    )
    return gathered, torch.distributed.get_rank() * len(pairs.usable)


def _gathered(tensor: Tensor) -> Tensor:
    parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, tensor)
    return torch.cat(parts)
