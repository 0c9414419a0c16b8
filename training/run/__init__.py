"""A run: its folder, how it is stopped and resumed, and several processes that share it."""
