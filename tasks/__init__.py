"""Tasks: what an input is, what the student reads of it, and what its answer means."""
