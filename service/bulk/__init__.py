"""Bulk: a file of rows in, shards of answers out, by the engine alone."""
