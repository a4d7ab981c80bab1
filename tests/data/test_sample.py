"""A sample that contradicts itself is named; a batch pads without touching what is there."""

from dataclasses import replace

import numpy as np
import pytest

from seg.core.errors import DataError
from seg.data.sample import Sample, no_instances, validate
from seg.loading.batch import collate


def make(height: int = 4, width: int = 5, fill: int = 1) -> Sample:
    """An image of one colour; a semantic map of class 1; two instances in the first row."""
    instances = np.zeros((height, width, 1), np.int32)
    instances.flat[:2] = 1, 2
    image, semantic = np.full((height, width, 3), fill, np.uint8), np.ones((height, width), np.uint8)
    return Sample(f"img{fill}", image, semantic, instances, np.array([1, 0], np.int32), np.array([False, True]))


def changed_at(array: np.ndarray, value: int) -> np.ndarray:
    array = array.copy()
    array.flat[0] = value
    return array


def test_a_sound_sample_is_accepted() -> None:
    sample = make()
    validate(sample, num_classes=2)
    validate(replace(sample, semantic=changed_at(sample.semantic, 255)), num_classes=2)
    instances, categories, crowd = no_instances(4, 5)
    validate(replace(sample, instances=instances, categories=categories, crowd=crowd), num_classes=2)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image", np.zeros((4, 5), np.uint8), r"image must be \(H, W, C\) uint8, got \(4, 5\) uint8"),
        ("image", np.zeros((4, 5, 3), np.float32), r"image must be \(H, W, C\) uint8, got \(4, 5, 3\) float32"),
        ("semantic", np.zeros((5, 4), np.uint8), r"label map must be \(4, 5\) uint8 like its image, got \(5, 4\) uint8"),
        ("semantic", np.zeros((4, 5), np.int64), r"label map must be .* got \(4, 5\) int64"),
        ("semantic", changed_at(make().semantic, 2), r"class index 2 is not in the class list \(0\.\.1, 255 = ignore\)"),
        ("semantic", changed_at(make().semantic, 254), "class index 254 is not in the class list"),
        ("instances", np.zeros((4, 5), np.int32), r"id map must be \(4, 5, L\), got \(4, 5\)"),
        ("instances", np.zeros((5, 4, 1), np.int32), r"id map must be \(4, 5, L\), got \(5, 4, 1\)"),
        ("instances", changed_at(make().instances, 3), r"instance id 3 has no category \(there are 2\)"),
        ("crowd", np.zeros(3, bool), "2 categories but 3 crowd flags"),
        ("categories", np.array([0, 2], np.int32), r"an instance's category is not in the class list \(0\.\.1\)"),
        ("categories", np.array([-1, 0], np.int32), "an instance's category is not in the class list"),
    ],
)
def test_a_contradiction_is_refused_with_the_images_name(field: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=f"^img1: {message}"):
        validate(replace(make(), **{field: value}), num_classes=2)


def test_a_batch_pads_at_the_right_and_bottom() -> None:
    tall, wide = make(3, 1, fill=7), make(1, 2, fill=9)
    instances, categories, crowd = no_instances(3, 1)
    tall = replace(tall, instances=instances, categories=categories, crowd=crowd)
    batch = collate([tall, wide])
    assert len(batch) == 2
    assert batch.images.shape == (2, 3, 3, 2)
    assert batch.images[:, 0].tolist() == [[[7, 0], [7, 0], [7, 0]], [[9, 9], [0, 0], [0, 0]]]
    assert batch.semantic.tolist() == [[[1, 255], [1, 255], [1, 255]], [[1, 1], [255, 255], [255, 255]]]
    assert batch.instances[0].shape == (3, 2, 0)
    assert batch.instances[1][..., 0].tolist() == [[1, 2], [0, 0], [0, 0]]
    assert [c.tolist() for c in batch.categories] == [[], [1, 0]]
    assert [c.tolist() for c in batch.crowd] == [[], [False, True]]
    assert (batch.sizes, batch.image_ids) == ([(3, 1), (1, 2)], ["img7", "img9"])


def test_a_batch_keeps_each_channel_in_its_plane() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    sample = replace(make(2, 3), image=image)
    images = collate([sample]).images
    assert images.shape == (1, 3, 2, 3)
    for channel in range(3):
        assert images[0, channel].tolist() == image[..., channel].tolist()


def test_a_batch_moves_whole() -> None:
    moved = collate([make()]).to("meta")
    tensors = [moved.images, moved.semantic, *moved.instances, *moved.categories, *moved.crowd]
    assert {t.device.type for t in tensors} == {"meta"}
    assert (moved.sizes, moved.image_ids) == ([(4, 5)], ["img1"])
