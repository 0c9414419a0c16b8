"""Fixtures for the tests of export."""

from tests.support.checkpoints import checkpoint, copy, learned

__all__ = ["checkpoint", "copy", "learned"]
