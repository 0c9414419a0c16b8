"""Data: rows of any source, the splits and examples made of them, and batches."""
