"""Class weights by hand."""

import warnings

import pytest

from seg.core.errors import ArgumentError
from seg.models.losses import Dice, weights_of

PIXELS = [60, 30, 10, 0]


def test_class_weights_by_hand() -> None:
    # shares 0.6, 0.3, 0.1, 0: 1 / share is 5/3, 10/3, 10, with mean 5; the median share of those that occur is 0.3
    assert weights_of("inverse", PIXELS) == pytest.approx([1 / 3, 2 / 3, 2.0, 0.0])
    assert weights_of("median", PIXELS) == pytest.approx([0.5, 1.0, 3.0, 0.0])


def test_class_weights_as_given() -> None:
    assert weights_of("none", PIXELS) is None
    assert weights_of([1, 2, 0, 0.5], PIXELS) == [1.0, 2.0, 0.0, 0.5]


@pytest.mark.parametrize("kind", ["inverse", "median"])
def test_without_any_pixel_no_class_has_a_weight(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert weights_of(kind, [0, 0, 0]) == [0.0, 0.0, 0.0]


def test_a_list_has_a_weight_for_each_class() -> None:
    with pytest.raises(ArgumentError, match=r"^class_weights=\[1\.0, 2\.0\]: expected 4 weights, one a class, got 2$"):
        Dice([1.0, 2.0], PIXELS)
