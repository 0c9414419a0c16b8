"""Data: rows of any source, what is learnt of them, and in which batches."""
