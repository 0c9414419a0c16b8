"""Tasks: an input's fields and labels, the text that the student reads, and the answer's value."""
