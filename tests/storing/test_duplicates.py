"""Nearly equal pictures: copies are found, other pictures are not, and none of the pairs that brute force finds is missed."""

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from scipy.fft import dctn

from seg.storing.duplicates import FLAT, MAX_DISTANCE, MIN_CORRELATION, SIDE, near_pairs, perceptual_hash, thumbnail

COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "1.7 times the size": lambda image: cv2.resize(image, None, fx=1.7, fy=1.7),
    "JPEG of quality 40": lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1),
    "brighter": lambda image: cv2.add(image, (12, 12, 12, 0)),
    "more contrast": lambda image: cv2.convertScaleAbs(image, alpha=1.15),
    "gray": lambda image: np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    "noise": lambda image: np.clip(image + np.random.default_rng(0).normal(0, 6, image.shape), 0, 255).astype(np.uint8),
}


def scene(seed: int, size: tuple[int, int] = (180, 240)) -> np.ndarray:
    """Shapes on uneven ground, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(60, 160, (4, 5, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    for _ in range(8):
        center = (int(rng.integers(0, size[1])), int(rng.integers(0, size[0])))
        cv2.circle(image, center, int(rng.integers(8, 40)), rng.integers(0, 256, 3).tolist(), -1)
    return image


def cells(seed: int) -> np.ndarray:
    """Dim discs on a nearly black ground, with noise: as fluorescence looks."""
    rng = np.random.default_rng(seed)
    image = np.full((128, 128), 5.0)
    for _ in range(25):
        cv2.circle(image, rng.integers(0, 128, 2).tolist(), 7, float(rng.integers(25, 60)), -1)
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)[:, :, None]


def pairs_of(images: list[np.ndarray], parts: list[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    small = np.array([thumbnail(image) for image in images])
    across, within = near_pairs([perceptual_hash(t) for t in small], small, parts, range(len(images)))
    return [(p.first, p.second) for p in across], [(p.first, p.second) for p in within]


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found_and_nothing_else(name: str) -> None:
    scenes = [scene(seed) for seed in range(30)]
    images = [*scenes, *(COPIES[name](s) for s in scenes)]
    assert pairs_of(images, [0] * 30 + [1] * 30) == ([(i, 30 + i) for i in range(30)], [])
    assert pairs_of(images, [0] * 60) == ([], [(i, 30 + i) for i in range(30)])


def test_dark_images_of_cells_are_told_apart() -> None:
    assert pairs_of([cells(seed) for seed in range(60)], [seed % 2 for seed in range(60)]) == ([], [])


def test_blank_images_are_no_pair() -> None:
    """Their hashes are noise: here even the same."""
    blank = [np.full((50, 50, 1), 9, np.uint8), np.full((60, 50, 1), 9, np.uint8)]
    assert len({perceptual_hash(thumbnail(image)) for image in blank}) == 1
    assert pairs_of(blank, [0, 1]) == ([], [])
    assert pairs_of([], []) == ([], [])


def test_the_hash_is_of_the_low_frequencies() -> None:
    small = thumbnail(scene(1))
    low = dctn(small.astype(float), norm="ortho")[1:9, 1:9].ravel()
    bits = "".join("1" if value > np.median(low) else "0" for value in low)
    assert f"{perceptual_hash(small):064b}" == bits
    assert bits.count("1") == 32


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_thumbnails_of_any_channels_and_type(channels: int, dtype: type) -> None:
    gray = cv2.cvtColor(scene(2), cv2.COLOR_RGB2GRAY)
    image = np.repeat(gray[..., None], channels, axis=2).astype(dtype) * dtype(1 if dtype == np.uint8 else 37)
    small, expected = thumbnail(image), thumbnail(gray[..., None])
    assert (small.shape, small.dtype) == ((SIDE, SIDE), np.uint8)
    assert np.corrcoef(small.ravel(), expected.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("seed", range(4))
def test_no_pair_is_missed(seed: int) -> None:
    """Against all pairs by brute force: 40 hashes, each with neighbours at 0 to 12 bits."""
    rng = np.random.default_rng(seed)
    hashes = []
    for start in rng.integers(0, 1 << 63, 40, np.uint64).tolist():
        hashes += [start ^ sum(1 << int(bit) for bit in rng.choice(64, distance, replace=False)) for distance in (0, 4, 8, 12)]
    parts = rng.integers(0, 3, len(hashes)).tolist()
    contents = rng.integers(0, len(hashes) * 3, len(hashes)).tolist()
    like = np.tile(np.random.default_rng(9).integers(0, 256, (SIDE, SIDE), np.uint8), (len(hashes), 1, 1))  # all thumbnails agree
    across, within = near_pairs(hashes, like, parts, contents)
    near = [
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if (hashes[i] ^ hashes[j]).bit_count() <= MAX_DISTANCE and contents[i] != contents[j]
    ]
    for found, expected in (
        (across, [p for p in near if parts[p[0]] != parts[p[1]]]),
        (within, [p for p in near if parts[p[0]] == parts[p[1]]]),
    ):
        assert {(p.first, p.second) for p in found} <= set(expected)
        assert {i for p in found for i in (p.first, p.second)} == {i for pair in expected for i in pair}
        assert all(p.distance == (hashes[p.first] ^ hashes[p.second]).bit_count() for p in found)
        assert all(p.correlation == pytest.approx(1) for p in found)


def test_the_same_pixels_are_no_pair() -> None:
    """They are told of as the same picture; what is nearly the same as both is a pair all the same."""
    images = [scene(1), scene(1), cv2.add(scene(1), (9, 9, 9, 0))]
    small = np.array([thumbnail(image) for image in images])
    hashes = [perceptual_hash(t) for t in small]
    assert near_pairs(hashes[:2], small[:2], [0, 1], [7, 7]) == ([], [])
    across, within = near_pairs(hashes, small, [0, 1, 1], [7, 7, 8])
    assert ([(p.first, p.second) for p in across], [(p.first, p.second) for p in within]) == ([(0, 2)], [(1, 2)])


def test_hashes_that_agree_by_chance_are_refused_by_their_thumbnails() -> None:
    rng = np.random.default_rng(0)
    assert near_pairs([5, 5], rng.integers(0, 256, (2, SIDE, SIDE), np.uint8), [0, 1], [0, 1]) == ([], [])
    assert rng.integers(0, 256, (SIDE, SIDE)).std() > FLAT
    assert 0.9 < MIN_CORRELATION < 1


@pytest.mark.parametrize("kind", ["all different", "a camera that never moves"])
def test_many_images_take_seconds(kind: str) -> None:
    rng, count = np.random.default_rng(0), 50_000 if kind == "all different" else 4_000
    hashes = rng.integers(0, 1 << 63, count, np.uint64)
    if kind != "all different":
        hashes = hashes[0] ^ (np.uint64(1) << rng.integers(0, 64, count, np.uint64))
    small = np.broadcast_to(rng.integers(0, 256, (SIDE, SIDE), np.uint8), (count, SIDE, SIDE))
    near_pairs([1, 2], small[:2], [0, 1], [0, 1])  # compiled
    start = time.process_time()
    across, _ = near_pairs(hashes.tolist(), small, (np.arange(count) % 10 == 0).tolist(), range(count))
    assert time.process_time() - start < (20 if kind == "all different" else 4)
    assert len({i for p in across for i in (p.first, p.second)}) == (0 if kind == "all different" else count)
