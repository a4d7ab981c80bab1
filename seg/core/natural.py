"""Natural order of names: a number in a name counts as a number, so that 2 comes before 10."""

import re

Key = tuple[list[str | int], str]


def natural_key(name: str) -> Key:
    """What to sort names by: text and numbers in turn; the name itself where only leading zeros differ."""
    parts = re.split(r"(\d+)", name)  # text at even places, digits at odd ones
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name
