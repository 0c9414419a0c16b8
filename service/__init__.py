"""Duet's inference service: a bundle in, HTTP out."""

__version__ = "0.1.0"
