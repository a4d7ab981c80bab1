"""What is compared after writing: values counted by hand."""

import numpy as np
import pytest
import torch
from conftest import MakeConfig
from random_instances import rle_of

from seg.data.sample import Prediction
from seg.export.check import Instances, Pixels
from seg.export.settings import ExportCheck


@pytest.fixture(scope="module")
def limits(make_config: MakeConfig) -> ExportCheck:
    return make_config().export.check


def test_differences_of_logits_and_classes_are_counted(limits: ExportCheck) -> None:
    wanted = torch.tensor([[0.0, 10.0, 5.0, 1.0], [10.0, 0.0, 5.0004, 9.0]]).view(1, 2, 1, 4)
    given = wanted.clone()
    given[0, :, 0, 2] = torch.tensor([5.0005, 5.0])  # another class, but the two are 0.00004 of the range apart
    pixels = Pixels()
    pixels.add(wanted, given, limits.near)
    assert (pixels.pixels, pixels.near, pixels.differing, pixels.span) == (4, 1, 0, 10.0)
    assert pixels.logits == pytest.approx(5e-4, rel=1e-3)
    assert pixels.relative == pytest.approx(5e-5, rel=1e-3)
    assert pixels.fault(limits) is None
    given[0, 0, 0, 3] = 9.5
    pixels.add(wanted, given, limits.near)
    assert (pixels.pixels, pixels.near, pixels.differing) == (8, 2, 1)
    assert str(pixels.fault(limits)).startswith("a difference of 8.5e-01 of the logits' range")


def test_values_that_are_none_and_a_flat_network_are_refused(limits: ExportCheck) -> None:
    flat = torch.zeros(1, 2, 1, 3)
    for given, faulty in ((flat, False), (flat + 1e-9, True), (flat * float("nan"), True)):
        pixels = Pixels()
        pixels.add(flat, given, limits.near)
        assert (pixels.fault(limits) is not None) == faulty


def test_classes_alone_are_compared_where_they_are_certain(limits: ExportCheck) -> None:
    wanted = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0]]).view(1, 2, 1, 3)
    pixels = Pixels()
    pixels.add(wanted, torch.tensor([1, 0, 1], dtype=torch.uint8).view(1, 1, 3), limits.near)
    assert (pixels.logits, pixels.differing, pixels.near, pixels.fault(limits)) == (None, 0, 1, None)
    pixels.add(wanted, torch.tensor([1, 1, 0], dtype=torch.uint8).view(1, 1, 3), limits.near)
    assert pixels.differing == 1
    assert str(pixels.fault(limits)) == "another class in 2.5e-01 of the pixels, more than check.differing=0.0001"


def prediction(scores: list[float], lefts: list[float], width: int = 4) -> Prediction:
    """Objects of 4 x `width` pixels of class 1, from column `left` on, in an image of 8 x 40."""
    masks = []
    for left in lefts:
        mask = np.zeros((8, 40), np.uint8)
        mask[2:6, int(left) : int(left) + width] = 1
        masks.append(rle_of(mask))
    boxes = np.array([[left, 2, left + 4, 6] for left in lefts], np.float32).reshape(-1, 4)
    return Prediction(scores=np.array(scores, np.float32), categories=np.ones(len(scores), np.int32), boxes=boxes, masks=masks)


def test_instances_are_matched_whatever_their_order(limits: ExportCheck) -> None:
    wanted, given = prediction([0.9, 0.8, 0.8], [0, 10, 20]), prediction([0.9, 0.8, 0.8], [0, 20.05, 10])
    instances = Instances()
    instances.add(wanted, given, limits)
    assert (instances.instances, instances.unmatched, instances.score) == (6, 0, 0.0)
    assert instances.box == pytest.approx(0.05, abs=1e-5)
    assert instances.fault(limits) is None
    instances.add(wanted, prediction([0.9, 0.8, 0.8], [0, 10, 20], width=2), limits)  # 8 pixels fewer, as many as half the border has
    assert (instances.instances, instances.unmatched) == (12, 0)


@pytest.mark.parametrize(
    "given", [prediction([0.9], [0.5]), prediction([0.8], [0]), prediction([0.9], [0], width=1), prediction([], [])], ids=str
)
def test_another_box_score_or_mask_is_no_match(limits: ExportCheck, given: Prediction) -> None:
    instances = Instances()
    instances.add(prediction([0.9], [0]), given, limits)
    assert instances.unmatched == instances.instances == 1 + len(given.scores)
    assert str(instances.fault(limits)).startswith("100.0% of the instances have none like it")
    instances = Instances()
    instances.add(Prediction(), Prediction(), limits)
    assert instances.fault(limits) is None


def test_a_comparison_of_nothing_says_so() -> None:
    assert (
        Instances().line() == "nothing was compared, as neither side found an instance; name images of yours that show some: images=FOLDER"
    )
    assert Instances(instances=4, unmatched=1).line().startswith("1 of 4 instances have none like it")
