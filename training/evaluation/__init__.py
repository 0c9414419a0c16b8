"""Evaluation: what a model says of labelled rows, and how good that is."""
