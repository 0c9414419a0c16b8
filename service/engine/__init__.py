"""The engine: a bundle's student, answering many requests at once."""
