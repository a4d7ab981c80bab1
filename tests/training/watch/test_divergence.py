"""Which losses end a training."""

import math

import pytest

from seg.runtime.settings import Divergence
from seg.training.watch.guard import LossWatch

SETTINGS = Divergence(every=5, window=20, factor=10.0, steps=3)


def first_high(losses: list[float], together: int = 7) -> int | None:
    """The place of the loss that ends it, looked at so many at a time."""
    watch = LossWatch(SETTINGS)
    for start in range(0, len(losses), together):
        if verdict := watch.look(losses[start : start + together]):
            return start + verdict[0]
    return None


FALLING = [2.0 - 0.05 * i for i in range(30)]


@pytest.mark.parametrize("together", [1, 7, 100])
@pytest.mark.parametrize(
    ("losses", "place"),
    [
        (FALLING, None),
        ([math.nan, 1.0], 0),
        ([*FALLING, math.inf], 30),
        ([1.0] * 20 + [10.1] * 3, 22),
        ([1.0] * 20 + [10.0] * 30, None),  # not more than the factor
        ([1.0] * 20 + [10.1, 10.1, 1.0] * 10, None),  # never for long enough
        ([1.0] * 5 + [1000.0] * 30, None),  # a start of few losses says nothing
        ([2.0] * 20 + [0.01] * 40 + [1.9] * 30, None),  # back where it began: bad, but no explosion
        ([2.0] * 20 + [0.01] * 40 + [20.1] * 3, 62),
        ([0.0] * 20 + [1.0] * 30, None),  # nothing to compare with
        ([1.0] * 20 + [5.0] * 40 + [45.0] * 5, None),  # the median is running
    ],
)
def test_places(losses: list[float], place: int | None, together: int) -> None:
    assert first_high(losses, together) == place


def test_the_reason_is_said_in_figures() -> None:
    verdict = LossWatch(SETTINGS).look([1.0] * 20 + [64.0] * 3)
    assert verdict
    assert verdict[1] == "is 64, for 3 steps more than 10 times its running median of 1"
