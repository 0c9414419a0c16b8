"""Evaluation: a model's answers to labelled rows, and how good they are."""
