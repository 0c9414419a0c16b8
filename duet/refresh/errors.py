"""What ends a refresh."""


class RefreshError(Exception):
    """A refresh cannot begin or go on. The message says what was expected and what to do."""

    status = 2  # of the command


class WorseError(RefreshError):
    """The new student is not good enough. Nothing is replaced."""

    status = 1
