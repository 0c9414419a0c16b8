"""Processes that train together: what they tell each other, and how they part."""

import gc

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from training.student.passes import IGNORED, Pairs


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


def leave_group() -> None:
    """Ends what joins the processes; before Python ends, for gloo's threads need its lock.

    DDP goes first: were it the last to hold the group, its destructor would wait for such a thread
    with the lock in its hand.
    """
    if torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()
