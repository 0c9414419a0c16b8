"""Processes that train together: how they share rows, and how they end."""

import gc

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from training.student.passes import IGNORED, Pairs


def gather_pairs(pairs: Pairs) -> tuple[Pairs, int]:
    """The rows of all processes, in the order of the processes, and where this one's begin.

    Gradients flow back to the process that a row came from. Every process must bring the same
    number of rows.
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


def is_main_process() -> bool:
    """Whether this process is the first of those that train together, or the only one."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def leave_group() -> None:
    """Ends the group of processes, while Python still runs: gloo's threads need Python's lock.

    DDP is deleted first. If it held the group last, its destructor would hold that lock and wait
    for such a thread.
    """
    if torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()
