"""Class weights by hand."""

import warnings

import numpy as np
import pytest

from seg.core.errors import ArgumentError
from seg.data.store import ClassCounts
from seg.models.losses import Dice, weights_of

COUNTS = ClassCounts([60, 30, 10, 0], [100, 100, 100, 0])


def test_class_weights_by_hand() -> None:
    # shares 0.6, 0.3, 0.1, 0: 1 / share is 5/3, 10/3, 10, with mean 5; the median share of those that occur is 0.3
    assert weights_of("inverse", COUNTS) == pytest.approx([1 / 3, 2 / 3, 2.0, 0.0])
    assert weights_of("median", COUNTS) == pytest.approx([0.5, 1.0, 3.0, 0.0])


def test_a_class_in_few_images_is_rare_in_those_alone() -> None:
    """Ten images of 100 pixels, a second class of 10 in each, a third of 50 in one: frequencies 0.85, 0.1 and 0.5 (Eigen and Fergus)."""
    counts = ClassCounts([850, 100, 50], [1000, 1000, 100])
    assert weights_of("median", counts) == pytest.approx([0.5 / 0.85, 5, 1])
    assert weights_of("inverse", counts) == pytest.approx(np.array([1 / 850, 1 / 100, 1 / 50]) / np.mean([1 / 850, 1 / 100, 1 / 50]))


def test_class_weights_as_given() -> None:
    assert weights_of("none", COUNTS) is None
    assert weights_of([1, 2, 0, 0.5], COUNTS) == [1.0, 2.0, 0.0, 0.5]


@pytest.mark.parametrize("kind", ["inverse", "median"])
def test_without_any_pixel_no_class_has_a_weight(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert weights_of(kind, ClassCounts([0, 0, 0], [0, 0, 0])) == [0.0, 0.0, 0.0]


def test_a_list_has_a_weight_for_each_class() -> None:
    with pytest.raises(ArgumentError, match=r"^class_weights=\[1\.0, 2\.0\]: expected 4 weights, one a class, got 2$"):
        Dice([1.0, 2.0], COUNTS)
