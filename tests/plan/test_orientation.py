"""Whether drawn sets of images have an up and a down, a left and a right."""

from collections.abc import Callable, Iterable

import cv2
import numpy as np
import pytest

from seg.data.sample import Sample
from seg.plan.orientation import GRID, LEAST_IMAGES, directions, features_of

SIDE = 64


def sample(gray: np.ndarray, semantic: np.ndarray | None = None, masks: Iterable[np.ndarray] = ()) -> Sample:
    """A gray image (H, W) with its labels; the masks do not overlap."""
    ids, count = np.zeros((*gray.shape, 1), np.int32), 0
    for count, mask in enumerate(masks, start=1):
        ids[mask, 0] = count
    labels = np.zeros(gray.shape, np.uint8) if semantic is None else semantic
    instances = ids if count else ids[..., :0]
    return Sample("drawn", gray[..., None].astype(np.uint8), labels, instances, np.zeros(count, np.int32), np.zeros(count, bool))


def blobs(rng: np.random.Generator) -> Sample:
    """Bright discs anywhere on gray: no direction."""
    gray, labels = np.full((SIDE, SIDE), 90, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(6):
        place, radius = tuple(int(v) for v in rng.integers(0, SIDE, 2)), int(rng.integers(3, 9))
        cv2.circle(gray, place, radius, int(rng.integers(120, 250)), -1)
        cv2.circle(labels, place, radius, 1, -1)
    return sample(gray, labels)


def street(rng: np.random.Generator) -> Sample:
    """Ground below a horizon, and trees on it: an up and a down alone."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    horizon = int(rng.integers(20, 44))
    labels[horizon:] = 1
    for _ in range(3):
        left = int(rng.integers(0, SIDE - 6))
        labels[horizon - 12 : horizon + 4, left : left + 5] = 2
    return sample(np.array([200, 60, 110], np.uint8)[labels], labels)


def lit(rng: np.random.Generator) -> Sample:
    """Brighter at the left, and nothing else: a left and a right alone."""
    gray = blobs(rng).image[..., 0] * 0.3 + np.linspace(150, 0, SIDE)[None]
    return sample(gray)


def stack(draw: Callable[[np.random.Generator], Sample], seed: int, count: int) -> list[Sample]:
    """Near-copies of one image, each with noise of its own."""
    one = draw(np.random.default_rng(seed))
    rng = np.random.default_rng([seed, 1])
    return [sample(np.clip(one.image[..., 0] + rng.normal(0, 5, (SIDE, SIDE)), 0, 255), one.semantic) for _ in range(count)]


def found(samples: Iterable[Sample], classes: int = 3) -> dict[str, bool]:
    return {name: d.differs for name, d in directions([features_of(s, classes) for s in samples]).items()}


def drawn(draw: Callable[[np.random.Generator], Sample], count: int, seed: int = 0) -> list[Sample]:
    return [draw(np.random.default_rng([seed, number])) for number in range(count)]


@pytest.mark.parametrize(
    ("draw", "differing"),
    [(blobs, set()), (street, {"up_down", "turned"}), (lit, {"left_right", "turned"})],
    ids=lambda v: getattr(v, "__name__", ""),
)
@pytest.mark.parametrize("count", [8, 40])
def test_directions_that_a_set_has(draw: Callable[[np.random.Generator], Sample], differing: set[str], count: int) -> None:
    assert {name for name, differs in found(drawn(draw, count)).items() if differs} == differing


def test_a_turned_set_has_its_directions_turned() -> None:
    turned = [sample(np.rot90(s.image[..., 0]), np.ascontiguousarray(np.rot90(s.semantic))) for s in drawn(street, 16)]
    assert found(turned) == {"left_right": True, "up_down": False, "turned": True}


def figures(rng: np.random.Generator, shape: np.ndarray) -> Sample:
    """Six objects of one shape on dark ground, each anywhere in a cell of its own."""
    gray, masks = np.full((144, 144), 40, np.uint8), []
    for cell in rng.permutation(9)[:6]:
        top, left = (int(48 * at + rng.integers(0, 49 - side)) for at, side in zip(divmod(cell, 3), shape.shape, strict=True))
        mask = np.zeros(gray.shape, bool)
        mask[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
        gray[mask] = int(rng.integers(100, 220))
        masks.append(mask)
    return sample(gray, np.any(masks, axis=0).astype(np.uint8), masks)


PERSON = np.zeros((34, 16), bool)
"""A head above a wider body."""
PERSON[:10, 4:12] = PERSON[10:] = True
POLE = np.ones((32, 8), bool)
"""The same upside down, but not lying."""
DISC = cv2.circle(np.zeros((19, 19), np.uint8), (9, 9), 9, 1, -1) > 0


@pytest.mark.parametrize(
    ("shape", "differing"), [(PERSON, {"up_down", "turned"}), (POLE, {"turned"}), (DISC, set())], ids=["person", "pole", "disc"]
)
def test_objects_anywhere_tell_by_their_own_shape(shape: np.ndarray, differing: set[str]) -> None:
    """Not by their places, which are random."""
    samples = drawn(lambda rng: figures(rng, shape), 24)
    assert {name for name, differs in found(samples, 2).items() if differs} == differing


def test_overlapping_layers_and_cut_objects() -> None:
    """An object of a second layer counts as one of the first; one that the border cuts does not count."""
    mask = np.zeros((48, 48), bool)
    mask[6:40, 12:28] = PERSON
    gray = np.where(mask, 200, 40).astype(np.uint8)
    one = sample(gray, None, [mask])
    layered = Sample(
        "layers", one.image, one.semantic, np.concatenate([np.zeros_like(one.instances), one.instances], axis=2), one.categories, one.crowd
    )
    np.testing.assert_array_equal(features_of(layered, 1), features_of(one, 1))
    cut = sample(gray[6:], None, [mask[6:]])  # whose head touches the border
    assert not features_of(cut, 1)[-2:].any()
    assert features_of(one, 1)[-2:].any()


@pytest.mark.parametrize(("count", "known"), [(1, False), (LEAST_IMAGES - 1, False), (LEAST_IMAGES, True)])
def test_few_images_say_nothing(count: int, known: bool) -> None:
    result = directions([features_of(s, 3) for s in drawn(street, count)])
    assert {d.known for d in result.values()} == {known}
    assert result["up_down"].differs is known


@pytest.mark.parametrize("seed", range(5))
def test_a_stack_of_near_copies_of_a_symmetric_kind_says_nothing(seed: int) -> None:
    """Six stacks, eight near-copies each: any one image differs from its turned self, and its copies all alike."""
    samples = [s for number in range(6) for s in stack(blobs, 10 * seed + number, 8)]
    assert not any(found(samples, 2).values())


def test_what_a_few_scenes_share_may_be_chance() -> None:
    """Three scenes of eight images each, of which two are alike: 24 images, but only three that show different things."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, (2, 2, GRID, GRID))
    scenes = np.concatenate([np.repeat(scene[None], 8, axis=0) for scene in (first, second, first)])
    for direction in directions(scenes + rng.normal(0, 0.1, scenes.shape)).values():
        assert direction.effect > 0.25
        assert not direction.differs
        assert not direction.known


def test_a_film_with_little_in_common_has_no_direction() -> None:
    rng, drift = np.random.default_rng(0), [np.zeros((2, GRID, GRID))]
    for _ in range(63):
        drift.append(0.9 * drift[-1] + rng.normal(0, 1, drift[0].shape))
    assert [(d.differs, d.known) for d in directions(drift).values()] == [(False, True)] * 3


def test_a_stack_of_streets_has_an_up() -> None:
    samples = [s for number in range(6) for s in stack(street, number, 8)]
    assert found(samples)["up_down"]


def test_effect_is_the_share_that_all_images_have_in_common() -> None:
    rng = np.random.default_rng(0)
    half = np.zeros((1, GRID, GRID))
    half[:, : GRID // 2] = 1.0  # each is the turned one's opposite
    all_alike = directions([half + rng.normal(0, 1e-3, half.shape) for _ in range(20)])
    assert all_alike["up_down"].effect == pytest.approx(1.0, abs=0.01)
    assert all_alike["left_right"].effect == pytest.approx(0.0, abs=0.25)
    either = directions([half if number % 2 else 1 - half for number in range(40)])
    assert not either["up_down"].differs
    assert either["up_down"].effect < 0.05
    # a common part of power 1 and a part of each image's own, of power 1 in the differences: a half is common
    own = rng.normal(0, 1, (400, 1, GRID, GRID))
    own = (own - own[:, :, ::-1]) / 2
    own /= np.sqrt((own**2).mean(axis=(1, 2, 3), keepdims=True))
    mixed = directions([half * 2 - 1 + o for o in own])
    assert mixed["up_down"].effect == pytest.approx(0.5, abs=0.03)


def test_a_direction_takes_effect_and_certainty() -> None:
    half = np.full((1, GRID, GRID), -1.0)
    half[:, : GRID // 2] = 1.0
    by_chance = directions([sign * half for sign in (1, -1, 1, 1, -1, 1, 1, 1)])["up_down"]  # as coins often fall
    assert by_chance.effect > 0.25
    assert (by_chance.differs, by_chance.known) == (False, True)
    rng = np.random.default_rng(0)
    own = rng.normal(0, 1, (400, 1, GRID, GRID))
    own = (own - own[:, :, ::-1]) / 2**0.5
    little = directions([0.22 * half + o for o in own])["up_down"]  # 0.22 ** 2 of 1.05: certain, but of no weight
    assert little.effect == pytest.approx(0.046, abs=0.02)
    assert not little.differs


def test_neighbours_are_not_compared() -> None:
    """Eight near-copies of each of twelve images: if they were, they would have 8 / 96 of their differences in common."""
    scenes = np.random.default_rng(0).normal(0, 1, (12, 2, GRID, GRID)).repeat(8, axis=0)
    assert max(d.effect for d in directions(scenes).values()) < 0.05


def test_images_without_content_are_known_to_have_no_direction() -> None:
    result = directions([np.zeros((2, GRID, GRID))] * 12)
    assert [(d.differs, d.effect, d.known) for d in result.values()] == [(False, 0.0, True)] * 3


def test_the_same_images_give_the_same_answer() -> None:
    features = [features_of(s, 3) for s in drawn(street, 16)]
    assert directions(features) == directions(features)


def test_few_symmetric_sets_are_taken_for_others() -> None:
    """The level is 1 %; of 100 sets 5 or more would say so with a probability of 0.3 % where the test keeps its level."""
    rng = np.random.default_rng(0)
    wrong = dict.fromkeys(("left_right", "up_down", "turned"), 0)
    for _ in range(100):
        for name, direction in directions(rng.normal(0, 1, (16, 2, GRID, GRID)) * rng.gamma(1, 1, (16, 1, 1, 1))).items():
            wrong[name] += direction.differs
    assert max(wrong.values()) < 5
