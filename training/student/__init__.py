"""The student: a T5 with its vocabulary, its two passes, and what the objectives measure of it."""
