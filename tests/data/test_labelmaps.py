"""Label maps to masks, boxes, RLE and class maps, against loops over pixels and pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from seg.data.labelmaps import boxes_of, decode, encode, fill_boxes, layers_from_masks, mask_of, measure, semantic_from_instances
from seg.data.rle import encode_crop, moved, run_lengths

HEIGHT, WIDTH = 19, 23


def random_masks(seed: int) -> np.ndarray:
    """Masks (N, H, W) bool: ragged rectangles, scattered pixels, single pixels, and one that is empty."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((int(rng.integers(4, 12)), HEIGHT, WIDTH), bool)
    for mask in masks[1:]:
        top, left, height, width = rng.integers(0, (HEIGHT, WIDTH, 12, 12))
        part = mask[top : top + height + 1, left : left + width + 1]
        part[:] = rng.random(part.shape) < rng.choice([0.4, 1.0])
    masks[2] = False
    masks[2, HEIGHT - 1, WIDTH - 1] = True
    return masks


@pytest.mark.parametrize("seed", range(20))
def test_masks_survive_the_layers(seed: int) -> None:
    masks = random_masks(seed)
    layers = layers_from_masks(masks, HEIGHT, WIDTH)
    assert layers.dtype == np.int32
    for number, mask in enumerate(masks, start=1):
        assert np.array_equal(mask_of(layers, number), mask)
        assert sum((layers[..., level] == number).any() for level in range(layers.shape[2])) <= 1
    assert np.array_equal((layers > 0).sum(axis=2), masks.sum(axis=0)), "where masks overlap each keeps its pixel, in a layer of its own"


def test_each_mask_lies_in_the_first_layer_with_room() -> None:
    left, both, right = np.zeros((3, 1, 4), bool)
    left[0, :2] = both[0, 1:3] = right[0, 2:] = True
    layers = layers_from_masks([left, both, right], 1, 4)
    assert layers[0].T.tolist() == [[1, 1, 3, 3], [0, 2, 2, 0]]


def test_layers_without_a_mask_and_with_an_empty_one() -> None:
    assert layers_from_masks([], 3, 5).shape == (3, 5, 0)
    full = np.ones((3, 5), np.uint8)
    layers = layers_from_masks([np.zeros((3, 5), np.uint8), full], 3, 5)
    assert layers.tolist() == [[[2]] * 5] * 3, "the empty mask keeps the id 1"


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask 2: expected shape \(3, 5\), got \(5, 3\)"):
        layers_from_masks([np.ones((3, 5), bool), np.ones((5, 3), bool)], 3, 5)


@pytest.mark.parametrize("seed", range(20))
def test_boxes_equal_those_of_a_loop_and_of_pycocotools(seed: int) -> None:
    masks = random_masks(seed)
    expected = []
    for mask in masks:
        places = [(x, y) for y in range(HEIGHT) for x in range(WIDTH) if mask[y, x]]
        xs, ys = [x for x, _ in places], [y for _, y in places]
        expected.append([min(xs), min(ys), max(xs) + 1, max(ys) + 1] if places else [0, 0, 0, 0])
    boxes = boxes_of(layers_from_masks(masks, HEIGHT, WIDTH), len(masks))
    assert boxes.tolist() == expected
    assert expected[2] == [WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT], "a single pixel has an area of 1"
    x, y, w, h = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0)).astype(np.uint8))).T
    drawn = masks.any(axis=(1, 2))
    assert np.array_equal(np.stack([x, y, x + w, y + h], axis=1)[drawn], boxes[drawn])


def test_boxes_of_no_instance() -> None:
    assert boxes_of(np.zeros((4, 4, 0), np.int32), 0).shape == (0, 4)
    assert boxes_of(np.zeros((4, 4, 1), np.int32), 2).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("seed", range(20))
def test_rle_equals_run_lengths_counted_down_the_columns(seed: int) -> None:
    masks = random_masks(seed)
    rles = encode(layers_from_masks(masks, HEIGHT, WIDTH), len(masks))
    for mask, rle in zip(masks, rles, strict=True):
        runs, last = [0], False
        for value in mask.T.ravel():
            if value != last:
                runs.append(0)
            runs[-1], last = runs[-1] + 1, value
        reference = coco_mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": runs}, HEIGHT, WIDTH)
        assert rle == {"size": [HEIGHT, WIDTH], "counts": reference["counts"].decode()}


@pytest.mark.parametrize("seed", range(20))
def test_layers_survive_rle(seed: int) -> None:
    masks = random_masks(seed)
    layers = layers_from_masks(masks, HEIGHT, WIDTH)
    again = decode(encode(layers, len(masks)), HEIGHT, WIDTH)
    assert again.dtype == np.int32
    assert np.array_equal(again, layers)


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_alternate_and_cover_the_image(seed: int) -> None:
    masks = random_masks(seed)
    for mask, rle in zip(masks, encode(layers_from_masks(masks, HEIGHT, WIDTH), len(masks)), strict=True):
        runs = run_lengths(rle, HEIGHT, WIDTH)
        assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), mask.T.ravel())


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("5", "its run lengths do not add up to 2 x 3 pixels"),
        ("6N2", "its run lengths do not add up"),  # 6, -2 and 2
        ("", "its run lengths do not add up"),
        ("é", "its run lengths do not add up"),
    ],
)
def test_text_that_is_no_rle_is_refused(counts: str, message: str) -> None:
    assert run_lengths({"size": [2, 3], "counts": "6"}, 2, 3).tolist() == [6]
    with pytest.raises(ValueError, match=f"^{message}"):
        run_lengths({"size": [2, 3], "counts": counts}, 2, 3)
    with pytest.raises(ValueError, match=f"^RLE 2: {message}"):
        decode([{"size": [2, 3], "counts": "6"}, {"size": [2, 3], "counts": counts}], 2, 3)


def test_rle_of_no_instance() -> None:
    assert encode(np.zeros((4, 6, 0), np.int32), 0) == []
    assert decode([], 4, 6).shape == (4, 6, 0)


@pytest.mark.parametrize("seed", range(20))
def test_the_class_map_shows_the_topmost_instance(seed: int) -> None:
    rng, masks = np.random.default_rng(seed), random_masks(seed)
    categories, crowd = rng.integers(0, 7, len(masks)).astype(np.int32), rng.random(len(masks)) < 0.3
    expected = np.full((HEIGHT, WIDTH), 6)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            for mask, category, is_crowd in zip(masks, categories, crowd, strict=True):
                if mask[y, x]:
                    expected[y, x] = 255 if is_crowd else category
    semantic = semantic_from_instances(layers_from_masks(masks, HEIGHT, WIDTH), categories, crowd, background=6)
    assert semantic.dtype == np.uint8
    assert np.array_equal(semantic, expected)


def test_the_class_map_without_instances_is_background() -> None:
    none = np.zeros(0, np.int32), np.zeros(0, bool)
    assert semantic_from_instances(np.zeros((2, 3, 0), np.int32), *none, background=9).tolist() == [[9, 9, 9]] * 2


@pytest.mark.parametrize("seed", range(20))
def test_areas_are_those_of_the_masks(seed: int) -> None:
    masks = random_masks(seed)
    areas, boxes = measure(layers_from_masks(masks, HEIGHT, WIDTH), len(masks))
    assert areas.tolist() == [int(mask.sum()) for mask in masks]
    assert not boxes[areas == 0].any()


@pytest.mark.parametrize("seed", range(60))
def test_a_crop_has_the_rle_of_the_whole_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 9, 2)
    h, w = rng.integers(0, height + 1), rng.integers(0, width + 1)
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    whole = np.zeros((height, width), bool)
    whole[top : top + h, left : left + w] = rng.random((h, w)) < rng.choice([0.3, 0.8, 1.0])
    expected = coco_mask.encode(np.asfortranarray(whole.astype(np.uint8)))
    rle = encode_crop(whole[top : top + h, left : left + w], int(left), int(top), int(height), int(width))
    assert rle == {"size": [height, width], "counts": expected["counts"].decode()}
    assert np.array_equal(decode([rle], height, width).any(axis=2), whole)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.9999])
def test_the_text_of_long_and_short_runs_is_pycocotools_own(share: float) -> None:
    mask = np.random.default_rng(0).random((900, 1300)) < share
    mask[100:800, 300:900] = share < 0.3
    expected = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert encode_crop(mask, 0, 0, 900, 1300)["counts"] == expected


def test_rles_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"does not lie within 4x3"):
        encode_crop(np.ones((2, 2), bool), 3, 0, 3, 4)
    rle = encode_crop(np.ones((2, 2), bool), 0, 0, 3, 4)
    with pytest.raises(ValueError, match=r"RLE 2: expected size \[4, 3\], got \[3, 4\]"):
        decode([encode_crop(np.ones((1, 1), bool), 0, 0, 4, 3), rle], 4, 3)
    with pytest.raises(ValueError, match=r"RLE 1: its run lengths do not add up to 3 x 4"):
        decode([{"size": [3, 4], "counts": rle["counts"][:-1]}], 3, 4)


def test_a_mask_is_moved_into_an_image_as_pycocotools_encodes_it_there() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        (h, w), (height, width) = rng.integers(1, 12, 2), rng.integers(1, 20, 2)
        top, left = int(rng.integers(height)), int(rng.integers(width))
        mask = (rng.random((h, w)) < rng.random()).astype(np.uint8)
        image = np.zeros((height, width), np.uint8)
        image[top : top + h, left : left + w] = mask[: height - top, : width - left]
        wanted = coco_mask.encode(np.asfortranarray(image))
        got = moved(coco_mask.encode(np.asfortranarray(mask)), left, top, int(height), int(width))
        assert got == {"size": wanted["size"], "counts": wanted["counts"].decode()}


def test_boxes_hold_the_rows_and_columns_whose_centres_they_hold_and_one_at_least() -> None:
    boxes = np.array([[1, 2, 4, 5], [0.4, 0.6, 2.6, 1.4], [3.1, 3.1, 3.2, 3.2], [-5, -5, 0, 0], [7.9, 5.9, 30, 30]], np.float32)
    found = [decode([rle], 6, 8)[..., 0] for rle in fill_boxes(boxes, 6, 8)]
    for (x1, y1, x2, y2), mask in zip(boxes.tolist(), found, strict=True):
        rows, columns = (sum(low <= i + 0.5 < high for i in range(side)) for low, high, side in ((y1, y2, 6), (x1, x2, 8)))
        assert mask.sum() == max(1, rows) * max(1, columns)
    assert np.argwhere(found[0])[[0, -1]].tolist() == [[2, 1], [4, 3]]
    assert [np.argwhere(found[i]).tolist() for i in (1, 2, 3, 4)] == [[[1, 0], [1, 1], [1, 2]], [[3, 3]], [[0, 0]], [[5, 7]]]
    assert fill_boxes(np.zeros((0, 4)), 6, 8) == []
