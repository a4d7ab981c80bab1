"""The step that all sources of instances share: classes, background, and the class map."""

import numpy as np
import pytest

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo
from seg.sources.class_map import background_of, categories_of, instance_sample


def classes(*names: str) -> list[ClassInfo]:
    return [ClassInfo(name, (0, 0, 0)) for name in names]


def test_an_instance_may_be_of_any_class_but_background() -> None:
    assert categories_of(classes("background", "cat", "dog")) == {"cat": 1, "dog": 2}
    assert categories_of(classes("cat", "dog")) == {"cat": 0, "dog": 1}
    assert (background_of(classes("background", "cat")), background_of(classes("cat", "dog"))) == (0, 255)
    with pytest.raises(
        ConfigError, match=r"^data.classes: background, the class of pixels without instance, must come first, or be left out$"
    ):
        categories_of(classes("cat", "background"))
    with pytest.raises(ConfigError, match=r"^data.classes: the name cat stands twice; each class needs its own$"):
        categories_of(classes("background", "cat", "dog", "cat"))


@pytest.mark.parametrize("background", [0, 255])
def test_the_class_map_by_hand(background: int) -> None:
    ids = np.array([[[1, 0], [1, 2], [0, 2], [0, 3], [0, 0]]], np.int32)
    sample = instance_sample("a", np.zeros((1, 5, 3), np.uint8), ids, np.array([4, 2, 7]), np.array([0, 0, 1]), background)
    assert sample.semantic.tolist() == [[4, 2, 2, 255, background]]
    assert (sample.categories.dtype, sample.crowd.dtype, sample.semantic.dtype) == (np.int32, bool, np.uint8)
    assert (sample.categories.tolist(), sample.crowd.tolist()) == ([4, 2, 7], [False, False, True])
