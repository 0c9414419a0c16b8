"""Fixtures for the client's tests."""

from tests.support.engines import engine, no_settings_from_outside, stepped_engine

__all__ = ["engine", "no_settings_from_outside", "stepped_engine"]
