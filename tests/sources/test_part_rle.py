"""COCO's segmentations as RLE: by hand, and bit for bit as pycocotools reads them."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from seg.labelmaps import decode
from seg.sources.part_rle import rle_of

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


def test_a_polygon_by_hand() -> None:
    assert drawn([[1, 1, 4, 1, 4, 3, 1, 3]], 4, 6).astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_parts_that_overlap_are_one_mask_without_holes() -> None:
    mask = drawn([[1, 1, 4, 1, 4, 3, 1, 3], [2, 1, 6, 1, 6, 2, 2, 2]], 4, 6)
    assert mask.astype(int).tolist() == [[0] * 6, [0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0], [0] * 6]


def test_run_lengths_by_hand() -> None:
    assert drawn({"size": [2, 3], "counts": [1, 3, 2]}, 2, 3).astype(int).tolist() == [[0, 1, 0], [1, 1, 0]]
    assert drawn({"size": [2, 3], "counts": [0, 6]}, 2, 3).all()


def test_an_area_of_nothing_is_zero() -> None:
    assert rle_of([[3, 3, 3, 3, 3, 3]], HEIGHT, WIDTH)[1] == 0
    assert rle_of([[-9, 2, -5, 2, -5, 8]], HEIGHT, WIDTH)[1] == 0
    assert rle_of({"size": [2, 3], "counts": [6]}, 2, 3)[1] == 0


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
        ("polygon", "its segmentation is 'polygon', expected a list of polygons"),
        (list(range(9000)), r"its polygon 0 is 0, expected numbers"),
    ],
)
def test_what_is_no_segmentation_is_refused(segmentation: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        rle_of(segmentation, HEIGHT, WIDTH)
