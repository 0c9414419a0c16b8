"""The settings of a run that fit the rows and the machine."""

import math
from dataclasses import dataclass, replace
from typing import Any, Final

# Students from scratch: up to how many examples, the geometry, and the learning rate. The large
# one is for GPUs alone, as it takes a CPU hours to learn from so many.
_SMALL: Final = {"d_model": 128, "d_kv": 32, "d_ff": 256} | {
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
}
_MIDDLE: Final = {"d_model": 192, "d_kv": 32, "d_ff": 512} | {
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 6,
}
_LARGE: Final = {"d_model": 256, "d_kv": 32, "d_ff": 1024} | {
    "num_layers": 4,
    "num_decoder_layers": 3,
    "num_heads": 8,
}
_STUDENTS: Final = ((5_000, _SMALL, 3e-3), (30_000, _MIDDLE, 2e-3), (math.inf, _LARGE, 1e-3))

_FEWEST_STEPS: Final = 200


@dataclass(frozen=True)
class RunSettings:
    """Keys of a recipe that decide how a student is trained."""

    geometry: dict[str, int] | None  # None: of a pretrained student
    steps: int
    batch_size: int
    learning_rate: float

    @property
    def warmup_steps(self) -> int:
        return self.steps // 10

    @property
    def eval_every(self) -> int:
        """Steps between evaluations: five of them, the last one at the end."""
        return self.steps // 5

    def within(self, seconds: float, per_step: float) -> "RunSettings":
        """The same with fewer steps, if these would take longer than `seconds`."""
        steps = max(_FEWEST_STEPS, min(self.steps, int(seconds / per_step)))
        return replace(self, steps=min(self.steps, _in_fifties(steps)))

    def keys(self) -> dict[str, Any]:
        """These settings as keys of a recipe."""
        return {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "lr_scheduler": "cosine",
            "eval_every": self.eval_every,
        }


def from_scratch(examples: int, vocab_size: int, *, gpu: bool) -> RunSettings:
    """The settings of a student of random weights: about 25 epochs of few rows, 2 of many."""
    students = _STUDENTS if gpu else _STUDENTS[:-1]
    geometry, rate = next(
        ((shape, rate) for most, shape, rate in students if examples <= most), students[-1][1:]
    )
    batch_size = 16 if examples < 200 else 32 if examples < 30_000 else 64
    steps = _steps(examples, batch_size, epochs=25, most=4_000)
    return RunSettings({"vocab_size": vocab_size, **geometry}, steps, batch_size, rate)


def of_pretrained(examples: int, *, gpu: bool) -> RunSettings:
    """The settings of a pretrained student: up to ten epochs, and the paper's 10,000 steps.

    The learning rates are those that transformers' documentation gives for T5 and AdamW.
    """
    batch_size = 64 if gpu and examples > 10_000 else 16
    steps = _steps(examples, batch_size, epochs=10, most=10_000)
    return RunSettings(None, steps, batch_size, 1e-4 if gpu else 3e-4)


def _steps(examples: int, batch_size: int, *, epochs: int, most: int) -> int:
    return _in_fifties(min(max(examples * epochs // batch_size, _FEWEST_STEPS), most))


def _in_fifties(steps: int) -> int:
    return max(50, steps // 50 * 50)
