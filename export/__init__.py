"""Turns a distilled checkpoint into a bundle that the service can load."""
