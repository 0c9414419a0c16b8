"""Refreshes a served model: a new student takes its place if it is not worse."""
