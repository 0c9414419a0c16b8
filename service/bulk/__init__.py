"""Bulk: answers a file of rows with the engine, and writes the answers in shards."""
