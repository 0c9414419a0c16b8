"""Rationales and labels from a teacher: prompts, answers, and the file that keeps them."""
