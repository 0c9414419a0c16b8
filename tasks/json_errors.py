"""Explains in words why a text is not JSON."""

from json import JSONDecodeError


def why_unreadable(error: BaseException) -> str:
    """The reason in words for an exception of a JSON parser."""
    match error:
        case JSONDecodeError():
            # some of json's own messages end in "at" already
            return f"{error.msg.removesuffix(' at')} at character {error.pos}"
        case RecursionError():
            return "it is nested too deeply"
        case UnicodeDecodeError():
            return f"it is not UTF-8 at byte {error.start}"
        case ValueError():
            return "a number in it has too many digits"
        case _:
            return "it cannot be read"
