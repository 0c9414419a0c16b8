"""What two runs of one training must have in common, on any processor.

Sums in another order are rounded in another way. Gradients and losses then differ by rounding
alone. Weights may differ by more. Adam divides a gradient by its own size, so rounding around 0
becomes whole steps.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file

GRADIENTS = 1e-5  # of a tensor's largest gradient: the most that rounding changes a gradient
LATER = 10  # times GRADIENTS, after steps that already differed by rounding
FEW = 0.001  # share of all weights


def assert_same_gradients(one: Path, other: Path) -> None:
    """Compares two files of gradients that `tests.support.recorded_losses` wrote."""
    gradients, expected = load_file(one), load_file(other)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        bound = GRADIENTS * gradient.abs().max()
        assert (gradients[name] - gradient).abs().max() <= bound, name


def assert_same_weights(
    one: Path, other: Path, *, gradients: Path, learning_rate: float, steps: int
) -> None:
    """Compares the weights of two students, whose first gradients are in a file, up to rounding.

    Step t of Adam moves a weight by lr·m/√v, which is at most lr·√t, and √v ≥ |g₁|/√t. Let all
    gradients be off by δ. Then it moves a weight at most lr·2t·δ/|g₁| too far, and never lr·2√t.
    Where rounding opens or closes a ReLU, gradients are off by more. So a few weights may be, too.
    """
    first = load_file(gradients)
    weights, expected = (load_file(folder / "model.safetensors") for folder in (one, other))
    most = learning_rate * sum(2 * step**0.5 for step in range(1, steps + 1))
    narrow, outside = [], []  # where the bound is useful, and where it does not hold
    for name, weight in expected.items():
        size = first[name].abs()
        error = LATER * GRADIENTS * size.max()
        moved = [
            torch.clamp(2 * step * error / size, max=2 * step**0.5) for step in range(1, steps + 1)
        ]
        bound = learning_rate * torch.stack(moved).sum(dim=0)
        difference = (weights[name] - weight).abs()
        assert (difference <= most).all(), name
        narrow.append((bound < learning_rate).flatten())
        outside.append((difference > bound + 1e-7).flatten())
    assert torch.cat(narrow).float().mean() > 0.5
    assert torch.cat(outside).float().mean() < FEW
