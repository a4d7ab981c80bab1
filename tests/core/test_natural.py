"""Natural order: numbers in names count as numbers."""

import random

from seg.core.natural import natural_key


def test_numbers_count_as_numbers_wherever_they_stand() -> None:
    ordered = ["0", "1", "2", "9", "10", "a", "a1b2", "a1b10", "a02", "a2", "a10", "b10/1", "b/2", "b/10"]
    mixed = random.Random(0).sample(ordered, len(ordered))
    assert mixed != ordered
    assert sorted(mixed, key=natural_key) == ordered
