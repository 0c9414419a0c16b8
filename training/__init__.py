"""Distils a teacher's labels and rationales into a small T5 student."""
