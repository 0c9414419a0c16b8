"""The engine: runs a bundle's student and answers many requests at once."""
