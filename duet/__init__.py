"""Duet from Python: `duet.client` asks a running service."""
