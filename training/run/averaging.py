"""The mean of a run's last checkpoints, which is steadier than any one of them.

As in Vaswani et al., 2017, section 6.1; that the mean generalises better is the argument of
Izmailov et al., 2018, Averaging Weights Leads to Wider Optima and Better Generalization.
"""

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor


def mean_weights(checkpoints: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the weights of each name."""
    total: dict[str, Tensor] = {}
    for checkpoint in checkpoints:
        for name, weight in load_file(checkpoint / "model.safetensors").items():
            total[name] = total[name] + weight if name in total else weight
    return {name: weight / len(checkpoints) for name, weight in total.items()}
