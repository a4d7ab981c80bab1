"""Outlines that rasterise back to the pixels that they were traced from: with pycocotools, and with their areas by shapely."""

import numpy as np
import pytest
import shapely
from random_instances import Scene
from scipy import ndimage

from seg.core.errors import ConfigError
from seg.data.labelmaps import decode, mask_of
from seg.data.sample import ClassInfo, Prediction
from seg.predict.write.polygons import Outline, outlines_of, rings_of, trace
from seg.sources.part_rle import rle_of as rasterised

CLASSES = [ClassInfo(name, (10, 20, 30)) for name in ("background", "cat", "dog", "tree")]


def drawn(outline: Outline, size: tuple[int, int]) -> np.ndarray:
    """The mask of an outline's rings by the rule of the sources, holes cut out."""
    rings = [shapely.get_coordinates(ring).ravel().tolist() for polygon in outline.polygons for ring in rings_of(polygon)]
    return mask_of(decode([rasterised(rings, *size, holes=True)[0]], *size), 1)


def random_map(seed: int, kinds: int = 4) -> np.ndarray:
    """Noise, blobs, or both, of up to `kinds` labels."""
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 40, 2).tolist())
    smooth = np.stack([ndimage.gaussian_filter(rng.standard_normal(size), seed % 4) for _ in range(kinds)])
    return smooth.argmax(0).astype(np.uint8)


MASKS = {
    "a pixel": ["1"],
    "a ring": ["111", "101", "111"],
    "a ring that closes at a corner": ["111", "101", "110"],
    "two holes that touch": ["11111", "10111", "11011", "11111"],
    "a hole that touches the outside": ["1111", "1011", "1101"],
    "pixels at corners": ["101", "010", "101"],
    "a part within a hole": ["11111", "10001", "10101", "10001", "11111"],
    "parts": ["1001", "1001"],
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("margin", [0, 2], ids=["at the border", "within"])
def test_masks_by_hand(name: str, margin: int) -> None:
    mask = np.pad(np.array([[c == "1" for c in row] for row in MASKS[name]]), margin)
    scene = Scene("a", mask.shape).predict(mask, 2, 0.7)
    (outline,) = outlines_of(scene.prediction, CLASSES, 0, 1)
    assert np.array_equal(drawn(outline, mask.shape), mask)
    assert (outline.number, outline.category, outline.score) == (1, 2, pytest.approx(0.7))
    assert len(outline.polygons) == ndimage.label(mask)[1]
    whole = shapely.MultiPolygon(outline.polygons)
    assert shapely.is_valid(whole)
    assert whole.area == mask.sum()


def test_the_corners_of_a_ring_are_those_of_its_pixels() -> None:
    mask = np.pad(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool), ((2, 0), (5, 0)))
    (outline,) = outlines_of(Scene("a", mask.shape).predict(mask).prediction, CLASSES, 0, 1)
    (polygon,) = outline.polygons
    outer, hole = ({tuple(p) for p in shapely.get_coordinates(ring).tolist()} for ring in rings_of(polygon))
    assert outer == {(5, 2), (8, 2), (8, 5), (5, 5)}
    assert hole == {(6, 3), (7, 3), (7, 4), (6, 4)}


def test_regions_cover_a_label_map_each_once() -> None:
    for seed in range(60):
        labels = random_map(seed)
        polygons, pixels = trace(labels)
        assert shapely.is_valid(polygons).all()
        assert shapely.area(polygons).sum() == labels.size == shapely.union_all(polygons).area
        assert len(polygons) == sum(ndimage.label(labels == k)[1] for k in np.unique(labels))
        assert len(np.unique(pixels, axis=0)) == len(pixels)
        assert shapely.contains(polygons, shapely.points(pixels[:, ::-1] + 0.5)).all()
        again = trace(labels)[0]
        assert [p.wkb for p in polygons] == [p.wkb for p in again]


def test_class_maps_are_drawn_back_region_by_region() -> None:
    for seed in range(40):
        semantic = random_map(seed)
        confidence = np.random.default_rng(seed).integers(0, 65536, semantic.shape).astype(np.uint16)
        found = outlines_of(Prediction(semantic, confidence), CLASSES, 0, 1)
        back = np.zeros_like(semantic)
        for outline in found:
            mask = drawn(outline, semantic.shape)
            assert not back[mask].any(), "with holes cut out, no two overlap"
            back[mask] = outline.category
            assert outline.score == pytest.approx(confidence[mask].mean() / 65535)
        assert np.array_equal(back, semantic)
        filled = np.zeros_like(semantic)
        for outline in found:  # as programs see it that fill holes: what lies within another comes after it
            ring = shapely.get_coordinates(outline.polygons[0].exterior).ravel().tolist()
            filled[mask_of(decode([rasterised([ring], *semantic.shape)[0]], *semantic.shape), 1)] = outline.category
        assert np.array_equal(filled[semantic > 0], semantic[semantic > 0])


def test_small_regions_and_background_are_left_out() -> None:
    semantic = np.array([[1, 1, 0, 2], [1, 0, 0, 2], [3, 0, 1, 0]], np.uint8)
    kept = outlines_of(Prediction(semantic), CLASSES, 0, 2)
    assert [(o.category, o.score, o.polygons[0].area) for o in kept] == [(1, None, 3), (2, None, 2)]
    named = [ClassInfo("ground", (0, 0, 0)), *CLASSES[1:]]
    without, with_ground = (len(outlines_of(Prediction(semantic), classes, 0, 1)) for classes in (CLASSES, named))
    assert (without, with_ground) == (4, 6)
    line = np.eye(4, dtype=bool)
    scene = Scene("a", (4, 4)).predict(line).predict(line & (np.arange(4) < 2)).predict(line & False)
    assert [len(o.polygons) for o in outlines_of(scene.prediction, CLASSES, 0, 3)] == [4]
    assert [len(o.polygons) for o in outlines_of(scene.prediction, CLASSES, 0, 0)] == [2, 4], "what has no pixel has no outline"


def test_a_thin_ring_comes_before_what_it_encloses() -> None:
    semantic = np.pad(np.full((5, 5), 2, np.uint8), 1, constant_values=1)
    found = outlines_of(Prediction(semantic), CLASSES, 0, 1)
    assert [(o.number, o.category, o.polygons[0].area) for o in found] == [(1, 1, 24), (2, 2, 25)]


def smooth_map(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([ndimage.gaussian_filter(rng.standard_normal((90, 120)), 5) for _ in range(4)]).argmax(0).astype(np.uint8)


def test_simplified_regions_still_meet() -> None:
    for seed in range(4):
        semantic = smooth_map(seed)
        named = [ClassInfo("ground", (0, 0, 0)), *CLASSES[1:]]
        exact, simple = (outlines_of(Prediction(semantic), named, tolerance, 1) for tolerance in (0, 1.5))
        points = [sum(shapely.get_num_coordinates(o.polygons[0]) for o in outlines) for outlines in (exact, simple)]
        assert points[1] < points[0] / 2
        shapes = [o.polygons[0] for o in simple]
        assert shapely.is_valid(shapes).all()
        assert shapely.area(shapes).sum() == pytest.approx(semantic.size, abs=1)
        assert shapely.union_all(shapes).area == pytest.approx(semantic.size, abs=1)
        back = np.full_like(semantic, 255)
        for outline in simple:
            back[drawn(outline, semantic.shape)] = outline.category
        assert (back == 255).mean() < 1e-3
        assert (back == semantic).mean() > 0.97


@pytest.mark.parametrize("tolerance", [1, 3, 20])
def test_nothing_is_simplified_away(tolerance: float) -> None:
    for seed in range(12):
        semantic = random_map(seed)
        found = outlines_of(Prediction(semantic), CLASSES, tolerance, 1)
        assert len(found) == len(outlines_of(Prediction(semantic), CLASSES, 0, 1))
        assert all(drawn(outline, semantic.shape).any() for outline in found)
        scene = Scene("a", semantic.shape)
        for category in np.unique(semantic):
            scene.predict(semantic == category, int(category))
        outlines = outlines_of(scene.prediction, CLASSES, tolerance, 1)
        assert len(outlines) == len(scene.scores)
        assert all(shapely.is_valid(polygon) for o in outlines for polygon in o.polygons)


def test_pixels_without_class_have_no_outline() -> None:
    semantic = np.array([[255, 255, 1], [0, 255, 1]], np.uint8)
    (outline,) = outlines_of(Prediction(semantic), CLASSES, 0, 1)
    assert np.array_equal(drawn(outline, (2, 3)), semantic == 1)


def test_a_tolerance_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tolerance=-1: expected a number of pixels of 0 or more"):
        outlines_of(Prediction(np.zeros((2, 2), np.uint8)), CLASSES, -1, 1)
