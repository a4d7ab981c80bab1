"""What is an object for each task, and what a prediction is made of: by hand, with a network whose answer is given."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from seg.core.errors import ConfigError
from seg.data.labelmaps import with_stuff
from seg.data.sample import Sample
from seg.loading.batch import Batch, collate
from seg.models.masks import instance, panoptic, semantic
from seg.models.masks.networks import QueryNetwork


class Given(QueryNetwork):
    """Two queries with the classes and masks that a test gives."""

    def __init__(self, classes: Sequence[Sequence[float]], masks: Tensor) -> None:
        super().__init__(nn.Identity(), [])
        self.classes, self.masks = torch.tensor(classes)[None].log(), masks[None]

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        return {"classes": [self.classes], "masks": [self.masks]}


def samples(crowd: bool = False) -> list[Sample]:
    """An image (8, 8) with an object of the class 1, perhaps a crowd, one of the class 2 over it, and a column of 255."""
    ids, classes = np.zeros((8, 8, 2), np.int32), np.zeros((8, 8), np.uint8)
    ids[:4, :4, 0], ids[2:6, 2:6, 1] = 1, 2
    classes[:4, :4], classes[2:6, 2:6], classes[:, 7] = 1, 2, 255
    image = np.zeros((8, 8, 3), np.uint8)
    return [Sample("a", image, classes, ids, np.array([1, 2], np.int32), np.array([crowd, False]))]


def batch(crowd: bool = False) -> Batch:
    return collate(samples(crowd))


def square(value: float, size: int = 8) -> Tensor:
    """Mask logits (size, size): `value` in the upper left quarter, -value elsewhere."""
    found = torch.full((size, size), -value)
    found[: size // 2, : size // 2] = value
    return found


SETTINGS = ([0.0] * 3, [1.0] * 3, 8, 1.0)


def test_classes_are_sums_over_queries_of_class_times_mask() -> None:
    masks = torch.stack([square(2.0), square(-3.0)])
    model = semantic.Model(Given([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], masks), None, ["a", "b"], *SETTINGS)
    logits = model.full_logits(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))[0]
    on, off = (1 / (1 + np.exp(-x)) for x in (2.0, -2.0))
    over, under = (1 / (1 + np.exp(-x)) for x in (-3.0, 3.0))
    assert logits[:, 0, 0].exp().tolist() == pytest.approx([0.7 * on + 0.1 * over, 0.2 * on + 0.6 * over], rel=1e-5)
    assert logits[:, 7, 7].exp().tolist() == pytest.approx([0.7 * off + 0.1 * under, 0.2 * off + 0.6 * under], rel=1e-5)


def test_each_class_that_is_shown_is_one_object() -> None:
    model = semantic.Model(Given([[0.5, 0.5]], square(1.0)[None]), None, ["a", "b", "c"], *SETTINGS)
    given = batch()
    ids, wanted, classes, ignored = model.labels(given, 0)
    assert wanted.tolist() == classes.tolist() == [0, 1, 2]
    assert (ids[..., 0] == given.semantic[0]).all()
    assert ignored.nonzero()[:, 1].unique().tolist() == [7]


@pytest.mark.parametrize(("names", "first"), [(["background", "x", "y"], 1), (["z", "x", "y"], 0)])
def test_objects_are_instances_but_for_crowds(names: list[str], first: int) -> None:
    """A background is no class of the network; without one, 255 is where nothing is."""
    model = instance.Model(Given([[0.5, 0.5]], square(1.0)[None]), None, names, *SETTINGS)
    assert model.num_classes == 3 - first
    _, wanted, classes, ignored = model.labels(batch(crowd=True), 0)
    assert (wanted.tolist(), classes.tolist()) == ([2], [2 - first])
    hidden = np.zeros((8, 8), bool)
    hidden[:4, :4], hidden[2:6, 2:6] = True, False  # of the crowd what the object does not cover
    hidden[:, 7] = first == 1
    np.testing.assert_array_equal(ignored, hidden)


def test_instances_are_queries_with_their_mean_certainty() -> None:
    empty = torch.full((8, 8), -1.0)
    masks = torch.stack([square(2.0), square(-4.0), empty])
    network = Given([[0.6, 0.1, 0.3], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05]], masks)
    (found,) = instance.Model(network, None, ["background", "x", "y"], *SETTINGS).predict(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    on, over = 1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(-4.0))
    assert found.scores.tolist() == pytest.approx([0.9 * over, 0.6 * on], rel=1e-5)
    assert found.categories.tolist() == [2, 1]
    quarter = np.zeros((8, 8), np.uint8)
    quarter[:4, :4] = 1
    np.testing.assert_array_equal(coco_mask.decode(found.masks[1]), quarter)
    np.testing.assert_array_equal(coco_mask.decode(found.masks[0]), 1 - quarter)
    assert found.boxes.tolist() == [[0, 0, 8, 8], [0, 0, 4, 4]]


@pytest.mark.parametrize("names", [["background", "x", "y"], ["z", "x", "y"]])
def test_segments_are_of_all_classes_but_for_crowds_and_void(names: list[str]) -> None:
    """A background is stuff like any other class."""
    model = panoptic.Model(Given([[0.5, 0.5]], square(1.0)[None]), None, names, *SETTINGS, things=[1, 2])
    assert (model.num_classes, panoptic.Model.num_outputs(names, True)) == (3, 4)
    (sample,) = [with_stuff(one, [1, 2]) for one in samples(crowd=True)]
    assert sample.categories.tolist() == [1, 2, 0]
    _, wanted, classes, ignored = model.labels(collate([sample]), 0)
    assert (wanted.tolist(), classes.tolist()) == ([2, 3], [2, 0])
    hidden = np.zeros((8, 8), bool)
    hidden[:4, :4], hidden[2:6, 2:6] = True, False
    hidden[:, 7] = True
    np.testing.assert_array_equal(ignored, hidden)


def test_segments_share_no_pixel() -> None:
    """A thing in the upper left quarter at 0.6 x 0.88, stuff everywhere at 0.9 x 0.98, and a thing that is too unsure."""
    masks = torch.stack([square(2.0), torch.full((8, 8), 4.0), square(-4.0)])
    network = Given([[0.1, 0.6, 0.2, 0.1], [0.9, 0.02, 0.03, 0.05], [0.2, 0.1, 0.4, 0.3]], masks)
    (found,) = panoptic.Model(network, None, ["z", "x", "y"], *SETTINGS, things=[1, 2]).predict(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert found.segments
    assert found.categories.tolist() == [0, 1]
    quarter = np.zeros((8, 8), np.uint8)
    quarter[:4, :4] = 1
    np.testing.assert_array_equal(coco_mask.decode(found.masks[1]), quarter)
    np.testing.assert_array_equal(coco_mask.decode(found.masks[0]), 1 - quarter)


def test_other_networks_and_losses_are_refused() -> None:
    given = Given([[0.5, 0.5]], square(1.0)[None])
    for kind, more in ((semantic.Model, ()), (instance.Model, ()), (panoptic.Model, ([0],))):
        with pytest.raises(ConfigError, match="expected masks with classes"):
            kind(nn.Conv2d(1, 1, 1), None, ["a", "b"], *SETTINGS, *more)
        with pytest.raises(ConfigError, match="set loss=masks"):
            kind(given, nn.CrossEntropyLoss(), ["a", "b"], *SETTINGS, *more)
    model = instance.Model(given, None, ["a", "b"], *SETTINGS)
    with pytest.raises(ConfigError, match="gives 2 classes, expected 2 and one for no object"):
        model.check_body(given(torch.zeros(1)), (8, 8))
