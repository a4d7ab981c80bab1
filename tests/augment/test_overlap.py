"""SSD's crops against their definition, box by box and pixel by pixel."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from tiny import augment
from torchvision.ops import box_iou

from seg.augment.overlap import OverlapCrop
from seg.augment.policy import compile_policy, load_policy
from seg.core.errors import ConfigError
from seg.data.labelmaps import layers_from_masks, semantic_from_instances
from seg.data.sample import Sample

HEIGHT, WIDTH = 60, 90
BOXES = [(3, 4, 30, 40), (20, 10, 70, 50), (60, 35, 88, 58), (80, 2, 84, 6)]  # x1, y1, x2, y2; the second overlaps the first and third
LEAST = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9]
CROP = {"_target_": "seg.augment.overlap.OverlapCrop", "overlaps": LEAST, "scale": [0.3, 1.0], "ratio": [0.5, 2.0]}


def scene() -> Sample:
    masks = np.zeros((len(BOXES), HEIGHT, WIDTH), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, BOXES, strict=True):
        mask[y1:y2, x1:x2] = True
    ids, kinds, crowd = layers_from_masks(masks, HEIGHT, WIDTH), np.array([1, 2, 1, 2], np.int32), np.zeros(len(BOXES), bool)
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Sample("scene", image, semantic_from_instances(ids, kinds, crowd, 0), ids, kinds, crowd)


def nearest(start: int, stop: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixel that holds the middle of each of `length` parts of start..stop, and whether it lies on no border of two."""
    doubled = (2 * np.arange(length) + 1) * (stop - start)
    return start + doubled // (2 * length), doubled % (2 * length) > 0


@pytest.mark.parametrize("least", [0.0, 0.3, 0.7])
def test_a_part_overlaps_one_of_the_boxes_whose_middle_it_holds(least: float) -> None:
    boxes, whole, apart = np.array(BOXES), 0, 0
    for seed in range(200):
        transform = OverlapCrop(overlaps=[least], scale=[0.2, 0.9], ratio=[0.5, 2.0])
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        corners, inside = transform._drawn(boxes, HEIGHT, WIDTH)
        if corners == (0, 0, WIDTH, HEIGHT):
            whole += 1
            assert inside.all()
            continue
        left, top, right, bottom = corners
        width, height = right - left, bottom - top
        assert 0 <= left < right <= WIDTH
        assert 0 <= top < bottom <= HEIGHT
        assert 0.5 <= width / height <= 2.0
        assert width <= 0.9 * WIDTH
        assert height >= int(0.2 * HEIGHT)
        held = [left < (x1 + x2) / 2 < right and top < (y1 + y2) / 2 < bottom for x1, y1, x2, y2 in BOXES]
        assert inside.tolist() == held
        apart += not all(held)
        overlaps = box_iou(torch.tensor(BOXES).float(), torch.tensor([corners]).float())[:, 0]
        assert overlaps[held].max() >= least
    assert 70 <= whole <= 130, "the whole image is one of two choices"
    assert apart > 50


def test_labels_are_the_parts_pixels_and_what_has_its_middle_outside_is_ignored() -> None:
    policy, sample = (
        compile_policy(augment({"_target_": "HorizontalFlip"}, CROP), ["seg", "albumentations"]),
        scene(),
    )
    again = load_policy(policy.to_json())
    mirrored, outside = sample.instances[:, ::-1], 0
    for seed in range(40):
        drawn, kept = policy.draw(sample, seed).sample, policy(sample, seed)
        left, top, right, bottom = policy.compose.transforms[1].params["corners"]
        (rows, sure_rows), (columns, sure_columns) = nearest(top, bottom, HEIGHT), nearest(left, right, WIDTH)
        expected = mirrored[rows[:, None], columns]
        np.testing.assert_array_equal(drawn.instances[sure_rows][:, sure_columns], expected[sure_rows][:, sure_columns])
        gone = []
        for number, (x1, y1, x2, y2) in enumerate(BOXES, start=1):
            middle = (WIDTH - (x1 + x2) / 2, (y1 + y2) / 2)
            if (drawn.instances == number).any():
                gone.append(not (left < middle[0] < right and top < middle[1] < bottom))
        assert kept.crowd.tolist() == gone
        outside += sum(gone)
        np.testing.assert_array_equal(again(sample, seed).image, kept.image)
    assert outside > 20


def test_images_without_objects_and_of_more_channels_are_taken() -> None:
    sample, policy = scene(), compile_policy(augment(CROP), ["seg"])
    deep = Sample(
        "deep", np.concatenate([sample.image, sample.image], axis=2), sample.semantic, sample.instances, sample.categories, sample.crowd
    )
    assert {policy(deep, seed).image.shape for seed in range(9)} == {(HEIGHT, WIDTH, 6)}
    bare = Sample("bare", sample.image, sample.semantic, np.zeros((HEIGHT, WIDTH, 0), np.int32), np.zeros(0, np.int32), np.zeros(0, bool))
    np.testing.assert_array_equal(policy(bare, 1).image, bare.image)


@pytest.mark.parametrize("wrong", [{"overlaps": [1.5]}, {"scale": [0.3]}, {"ratio": [1]}], ids=str)
def test_arguments_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"augment.transforms\[0\].*{next(iter(wrong))}"):
        compile_policy(augment(CROP | wrong), ["seg"])
