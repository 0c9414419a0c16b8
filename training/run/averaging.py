"""The mean of a run's last checkpoints, which is steadier than a single one.

As in Vaswani et al., 2017, section 6.1. Izmailov et al., 2018 (Averaging Weights Leads to Wider
Optima and Better Generalization) argue that the mean generalises better.
"""

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor


def mean_weights(checkpoints: Sequence[Path]) -> dict[str, Tensor]:
    """For each name, the mean of its weights in the checkpoints."""
    total: dict[str, Tensor] = {}
    for checkpoint in checkpoints:
        for name, weight in load_file(checkpoint / "model.safetensors").items():
            total[name] = total[name] + weight if name in total else weight
    return {name: weight / len(checkpoints) for name, weight in total.items()}
