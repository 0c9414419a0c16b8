"""What differs between two runs, for people."""

import json
from typing import Any


def differences(old: Any, new: Any) -> list[str]:
    """What differs between two JSON values, each as `key: old → new`; inner keys as `part.key`."""
    return [f"{key}: {before} → {after}" for key, (before, after) in _pairs(old, new).items()]


def _pairs(old: Any, new: Any, key: str = "") -> dict[str, tuple[str, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        pairs: dict[str, tuple[str, str]] = {}
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{key}.{name}" if key else name
            pairs |= _pairs(old.get(name), new.get(name), inner)
        return pairs
    return {} if old == new else {key: (json.dumps(old), json.dumps(new))}
