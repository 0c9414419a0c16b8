"""Numbers and equations in texts, read alike by training, export and service."""
