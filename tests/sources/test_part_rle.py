"""Parts of regions as RLE: by hand, and COCO's bit for bit as pycocotools reads them."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from seg.data.labelmaps import decode
from seg.sources.part_rle import pixels_of, rle_of, runs_of

HEIGHT, WIDTH = 19, 27


def drawn(segmentation: object, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    rle, area = rle_of(segmentation, height, width)
    mask = decode([rle], height, width).any(axis=2)
    assert area == mask.sum()
    return mask


def random_segmentation(seed: int) -> object:
    """One to three polygons of 3 to 8 points, some of them beyond the image; or run lengths, as numbers or as text."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        low, high = (-6, -6), (WIDTH + 6, HEIGHT + 6)
        return [rng.uniform(low, high, (int(rng.integers(3, 9)), 2)).round(2).ravel().tolist() for _ in range(int(rng.integers(1, 4)))]
    runs = np.diff(np.sort(rng.choice(HEIGHT * WIDTH, 12, replace=False)), prepend=0, append=HEIGHT * WIDTH).tolist()
    rle = {"size": [HEIGHT, WIDTH], "counts": runs}
    return rle if seed % 3 == 1 else {**rle, "counts": coco_mask.frPyObjects(rle, HEIGHT, WIDTH)["counts"].decode()}


def test_every_segmentation_is_rasterised_as_pycocotools_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmentations = [random_segmentation(seed) for seed in range(120)]
    annotations = [{"id": i, "image_id": 1, "category_id": 1, "segmentation": s} for i, s in enumerate(segmentations)]
    images = [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}]
    (tmp_path / "all.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    coco = COCO(str(tmp_path / "all.json"))
    capsys.readouterr()
    masks = [coco.annToMask(annotation) for annotation in annotations]
    assert sum(len(s) > 1 for s in segmentations if isinstance(s, list)) > 20
    assert sum(mask.any() for mask in masks) > 100
    for segmentation, mask in zip(segmentations, masks, strict=True):
        assert np.array_equal(drawn(segmentation), mask)


def test_an_area_of_nothing_is_zero() -> None:
    assert rle_of([[3, 3, 3, 3, 3, 3]], HEIGHT, WIDTH)[1] == 0
    assert rle_of([[-9, 2, -5, 2, -5, 8]], HEIGHT, WIDTH)[1] == 0
    assert rle_of({"size": [2, 3], "counts": [6]}, 2, 3)[1] == 0


OUTER, HOLE, ISLAND = [1, 1, 9, 1, 9, 9, 1, 9], [3, 3, 7, 3, 7, 7, 3, 7], [4, 4, 6, 4, 6, 6, 4, 6]


@pytest.mark.parametrize(
    ("rings", "added", "cut"),
    [
        ([OUTER, HOLE], 64, 64 - 16),
        ([HOLE, OUTER], 64, 64 - 16),
        ([OUTER, HOLE, ISLAND], 64, 64 - 16 + 4),
        ([OUTER, [12, 1, 15, 1, 15, 4, 12, 4]], 64 + 9, 64 + 9),
        ([OUTER], 64, 64),
        ([OUTER, OUTER], 64, 0),
    ],
)
def test_polygons_inside_others_are_added_or_cut_out(rings: list[list[float]], added: int, cut: int) -> None:
    assert (rle_of(rings, HEIGHT, WIDTH)[1], rle_of(rings, HEIGHT, WIDTH, True)[1]) == (added, cut)


def test_a_hole_is_the_difference_of_two_masks_bit_for_bit() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rings = [rng.uniform((-4, -4), (WIDTH + 4, HEIGHT + 4), (int(rng.integers(3, 7)), 2)).ravel().tolist() for _ in range(3)]
        one, two, three = (drawn([ring]) for ring in rings)
        rle, _ = rle_of(rings, HEIGHT, WIDTH, True)
        assert np.array_equal(decode([rle], HEIGHT, WIDTH).any(axis=2), one ^ two ^ three)


def test_a_mask_of_a_part_of_the_image_lies_at_its_place() -> None:
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    assert np.array_equal(pixels_of({"width": 7, "height": 5, "runs": runs_of(mask)}), mask)
    assert (runs_of(np.zeros((2, 3), bool)), runs_of(np.ones((2, 3), bool)), runs_of(np.array([[0, 1], [1, 0]], bool))) == (
        [6],
        [0, 6],
        [1, 2, 1],
    )
    for left, top in ((3, 2), (0, 0), (WIDTH - 7, HEIGHT - 5), (-2, -3), (WIDTH - 3, HEIGHT - 1), (WIDTH + 9, 2), (-30, 0)):
        whole = np.zeros((HEIGHT + 100, WIDTH + 100), bool)
        whole[50 + top : 55 + top, 50 + left : 57 + left] = mask
        part = {"left": left, "top": top, "width": 7, "height": 5, "runs": runs_of(mask)}
        assert np.array_equal(drawn([part]), whole[50 : 50 + HEIGHT, 50 : 50 + WIDTH]), (left, top)


def test_parts_of_every_form_make_one_mask() -> None:
    square = {"left": 20, "top": 15, "width": 2, "height": 2, "runs": [0, 4]}
    runs = {"size": [HEIGHT, WIDTH], "counts": [0, 3, HEIGHT * WIDTH - 3]}
    line = {"line": [12, 4, 18, 4], "width": 2}
    assert rle_of([OUTER, square, line, runs], HEIGHT, WIDTH)[1] == 64 + 4 + 12 + 3
    assert rle_of([OUTER, square, line, runs, HOLE], HEIGHT, WIDTH, True)[1] == 64 + 4 + 12 + 3 - 16


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 1, 4, 4]], "its polygon 0 has 4 numbers, expected x and y of at least 3 points"),
        ([[1, 1, 4, 1, 4, 4], [1, 2, 3, 4, 5, 6, 7]], "its polygon 1 has 7 numbers, expected x and y of at least 3 points"),
        ([[]], "its polygon 0 has 0 numbers"),
        ([1, 1, 4, 1, 4, 4], r"its polygon 0 is 1, expected numbers \[x1, y1, x2, y2, ...\] in pixels"),
        ([[[1, 1], [4, 1], [4, 4]]], r"its polygon 0 is \[\[1, 1\], \[4, 1\], \[4, 4\]\], expected numbers \[x1, y1"),
        ([[1, 1, 4, float("nan"), 4, 4]], "its polygon 0 is .*, expected numbers"),
        ([[1, 1, 4, 1, 4000, 4]], "its polygon 0 has x=4000 in an image of 27x19 pixels"),
        ([[1, 1, 4, -1e9, 4, 4]], r"its polygon 0 has y=-1e\+09 in an image of 27x19 pixels"),
        ({"size": [27, 19], "counts": [513]}, r"its RLE has the size \[27, 19\], but the image has \[height, width\] = \[19, 27\]"),
        ({"counts": [513]}, r"its RLE has the size None, but"),
        ({"size": [19, 27], "counts": [500, 12]}, "its RLE has run lengths that add up to 512, expected 19 x 27 = 513 pixels"),
        ({"size": [19, 27], "counts": [514, -1]}, r"its RLE has the counts \[514, -1\], expected text or a list of run lengths"),
        ({"size": [19, 27]}, "its RLE has the counts None, expected text or a list"),
        ({"size": [19, 27], "counts": "no run lengths é"}, "its run lengths do not add up to 19 x 27 pixels"),
        ([{"line": [1, 1], "width": 2}], "its line 0 has 2 numbers, expected x and y of at least 2 points"),
        (
            [{"left": 0, "top": 0, "width": 2, "height": 2, "runs": [3]}],
            "its mask has run lengths that add up to 3, expected 2 x 2 = 4 pixels",
        ),
        ("polygon", "its segmentation is 'polygon', expected a list of polygons"),
        (list(range(9000)), r"its polygon 0 is 0, expected numbers"),
    ],
)
def test_what_is_no_segmentation_is_refused(segmentation: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        rle_of(segmentation, HEIGHT, WIDTH)


def test_a_mask_is_bounded_by_its_image_before_it_is_drawn() -> None:
    for part in (
        {"left": 0, "top": 0, "width": 100_000, "height": 100_000, "runs": [0, 10_000_000_000]},
        {"left": 0, "top": 0, "width": 100_000, "height": 1, "runs": [0, 100_000]},
    ):
        with pytest.raises(ValueError, match="in an image of 20x10"):
            rle_of([part], 10, 20)
    with pytest.raises(ValueError, match="a run length that no image has"):
        rle_of([{"left": 0, "top": 0, "width": 2, "height": 2, "runs": [0, 10**400]}], 10, 20)
