"""Maps of distances against loops over pixels, and the objects that are read from maps against those that made them."""

import numpy as np
import pytest

from seg.data.labelmaps import decode
from seg.models.distance import distance_map, objects_of, prediction_of_maps


def drawn(size: int, count: int, seed: int) -> np.ndarray:
    """An id map of rectangles, some of which touch, hide others, or leave the image."""
    rng, ids = np.random.default_rng(seed), np.zeros((size, size), np.int32)
    for number in range(1, count + 1):
        y, x, h, w = rng.integers(-3, size), rng.integers(-3, size), rng.integers(1, 9), rng.integers(1, 9)
        ids[max(0, y) : y + h, max(0, x) : x + w] = number
    return ids


def by_loops(ids: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel."""
    height, width = ids.shape
    edge = [
        (y, x)
        for y in range(height)
        for x in range(width)
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
        if 0 <= y + dy < height and 0 <= x + dx < width and ids[y + dy, x + dx] != ids[y, x]
    ]
    found = np.zeros(ids.shape)
    for y in range(height):
        for x in range(width):
            if ids[y, x]:
                found[y, x] = 1 + min(np.hypot(y - j, x - i) for j, i in edge)
    for number in np.unique(ids[ids > 0]):
        found[ids == number] /= 0.75 * found[ids == number].max()
    return found.clip(0, 1)


@pytest.mark.parametrize("seed", range(4))
def test_distances_are_those_of_the_definition(seed: int) -> None:
    ids = drawn(20, 9, seed)
    assert distance_map(ids) == pytest.approx(by_loops(ids), abs=1e-5)


def test_distances_of_a_square_by_hand() -> None:
    ids = np.zeros((7, 7), np.int32)
    ids[1:6, 1:6] = 4
    assert distance_map(ids)[3].tolist() == pytest.approx([0, 4 / 9, 8 / 9, 1, 8 / 9, 4 / 9, 0])
    whole = np.ones((3, 4), np.int32)  # an object that fills the image has no edge in it
    assert distance_map(whole).tolist() == [[1] * 4] * 3
    assert not distance_map(np.zeros((3, 4), np.int32)).any()


def discs() -> np.ndarray:
    """Two discs that touch, one alone that is cut by the border, and one of three pixels."""
    y, x = np.mgrid[:48, :64]
    ids = np.zeros((48, 64), np.int32)
    for number, (cy, cx, r) in enumerate(((20, 20, 10), (20, 39, 9), (47, 10, 8)), start=1):
        ids[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = number
    ids[40, 50:53] = 4
    return ids


def maps_of(ids: np.ndarray, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a network that knows all would say: of no object 0.1 in objects, and 0.9 of the class with this category; K = 3."""
    probabilities = np.zeros((3, *ids.shape), np.float32)
    probabilities[0] = np.where(ids > 0, 0.1, 1)
    for label in (1, 2):
        probabilities[label] = np.where((ids > 0) & (category[ids] == label), 0.9, 0)
    return probabilities, distance_map(ids)


def test_objects_that_touch_come_apart() -> None:
    ids = discs()
    probabilities, distance = maps_of(ids, np.array([0, 1, 2, 1, 2]))
    assert (ids[20, 29], ids[20, 30]) == (1, 2)  # they touch
    found = objects_of(probabilities, distance, 0.1)
    assert sorted(np.unique(found)) == [0, 1, 2, 3, 4]
    for number in range(1, 5):
        (own,) = np.unique(found[ids == number])
        assert ((found == own) == (ids == number)).all()


@pytest.mark.parametrize("first_label", [0, 1])
def test_a_prediction_of_maps_holds_the_objects_best_first(first_label: int) -> None:
    ids = discs()
    probabilities, distance = maps_of(ids, np.array([0, 1, 2, 1, 2]))
    probabilities[:, ids == 3] = np.array([0.4, 0.6, 0])[:, None]
    found = prediction_of_maps(probabilities, distance, 0.1, first_label)
    assert found.scores.tolist() == pytest.approx([0.9, 0.9, 0.9, 0.6])
    assert found.scores.dtype == np.float32
    masks = [decode([mask], 48, 64)[..., 0] > 0 for mask in found.masks]
    by_place = {int(ids[mask][0]): (mask, category, box) for mask, category, box in zip(masks, found.categories, found.boxes, strict=True)}
    assert {number: int(category) + first_label for number, (_, category, _) in by_place.items()} == {1: 1, 2: 2, 3: 1, 4: 2}
    assert all((mask == (ids == number)).all() for number, (mask, _, _) in by_place.items())
    assert by_place[4][2].tolist() == [50, 40, 53, 41]


def test_a_region_without_a_core_is_an_object_and_a_ring_stays_whole() -> None:
    ids = discs()
    y, x = np.mgrid[:48, :64]
    radius = np.hypot(y - 30, x - 50)
    ring = np.zeros_like(ids)
    ring[(radius <= 10) & (radius >= 6)] = 1
    probabilities, distance = maps_of(ring, np.array([0, 1]))
    assert np.array_equal(objects_of(probabilities, distance, 0.1), ring)
    probabilities, _ = maps_of(ids, np.array([0, 1, 1, 1, 1]))
    found = objects_of(probabilities, np.zeros_like(probabilities[0]), 0.1)
    assert len(np.unique(found)) == 4  # none, the two that touch as one, and two more


def test_maps_without_an_object_or_without_a_background() -> None:
    nothing = prediction_of_maps(
        np.stack([np.ones((4, 5), np.float32), np.zeros((4, 5), np.float32)]), np.zeros((4, 5), np.float32), 0.5, 0
    )
    assert (len(nothing.scores), nothing.boxes.shape, nothing.masks) == (0, (0, 4), [])
    all_of_it = prediction_of_maps(
        np.stack([np.zeros((4, 5), np.float32), np.ones((4, 5), np.float32)]), np.ones((4, 5), np.float32), 0.5, 0
    )
    assert all_of_it.boxes.tolist() == [[0, 0, 5, 4]]
    assert all_of_it.scores.tolist() == [1]
