"""The size at which a network sees an image: exact, and the same for numbers and for what stands for them while a network is exported."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
import torch

from seg.models.base import scaled_size


@pytest.mark.parametrize("scale", [0.5, 0.37, 0.29, 0.015, 1.0, 1])
def test_a_share_is_rounded_half_up_as_it_is_written(scale: float) -> None:
    for side in (1, 2, 3, 50, 101, 150, 480, 65535):
        wanted = max(1, int((side * Decimal(str(scale))).to_integral_value(ROUND_HALF_UP)))
        assert scaled_size(side, 7, scale)[0] == scaled_size(7, side, scale)[1] == wanted


@pytest.mark.parametrize("size", [(360, 480), (480, 360), (33, 2000), (1, 70), (64, 64)])
def test_the_shorter_side_is_as_wanted_unless_the_longer_is_too_long(size: tuple[int, int]) -> None:
    factor = min(Fraction(800, min(size)), Fraction(1333, max(size)))
    wanted = tuple(max(1, (2 * side * factor + 1) // 2) for side in size)
    assert scaled_size(*size, [800, 1333]) == wanted
    assert max(wanted) <= 1333
    for scale in ([800, 1333], 0.3):
        traced = scaled_size(*(torch.tensor(side) for side in size), scale)
        assert tuple(int(side) for side in traced) == scaled_size(*size, scale)
