"""Defaults of a recipe that depend on its other keys."""

from typing import Any

# Each option's default, by the objectives that know it.
OPTIONS: dict[str, dict[str, Any]] = {
    "alpha_by_entropy": dict.fromkeys(("dss", "mi-infonce", "mi-unsafe", "kl"), False),
    "cascade": dict.fromkeys(("dss", "mi-infonce", "mi-official", "mi-unsafe", "kl"), False),
    "beta_warmup_steps": dict.fromkeys(("mi-infonce", "mi-unsafe", "kl"), 0),
    "reduction": {"mi-unsafe": "max", "kl": "max"},
    "detach": {"mi-infonce": "none", "mi-unsafe": "predict", "kl": "none"},
    "temperature": {"mi-infonce": 0.1},
    "mask_same_label": {"mi-infonce": False},
}

# The defaults of a student from scratch. It must learn more than a pretrained one, and faster.
FROM_SCRATCH: dict[str, Any] = {
    "steps": 2_000,
    "learning_rate": 2e-3,
    "warmup_steps": 100,
    "lr_scheduler": "cosine",
}
