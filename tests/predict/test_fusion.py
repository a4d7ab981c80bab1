"""Means against numpy in double precision; weighted boxes fusion against the authors' package, and its masks against dense arrays."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from random_instances import Scene, box, random_scenes, rle_of

from seg.data.rle import decode_crop
from seg.data.sample import Prediction
from seg.predict.fusion import Cluster, Instance, fuse, mean_logits


def dense(prediction: Prediction) -> list[np.ndarray]:
    return [coco_mask.decode(mask).astype(bool) for mask in prediction.masks]


def sources(seed: int, number: int = 3) -> list[Prediction]:
    """What several networks may have found in one image: the same shapes moved a little, some missing, and others."""
    rng, scene = np.random.default_rng(seed), random_scenes(seed, number=1, classes=3, crowds=False)[0]
    found = []
    for _ in range(number):
        one = Scene("a", scene.size)
        for mask, category in zip(scene.truth, scene.categories, strict=True):
            for _ in range(int(rng.integers(3))):
                one.predict(np.roll(mask, rng.integers(-2, 3, size=2).tolist(), axis=(0, 1)), category, float(rng.uniform(0.05, 1)))
        found.append(one.prediction)
    return found


def test_a_crop_is_what_the_box_of_a_mask_holds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(v) for v in rng.integers(1, 9, 2))
        mask = rng.random((height, width)) < rng.choice([0.1, 0.5, 0.95])
        crop, left, top = decode_crop(rle_of(mask))
        ys, xs = np.nonzero(mask)
        if len(ys):
            assert np.array_equal(crop, mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1])
            assert (left, top) == (xs.min(), ys.min())
        else:
            assert crop.size == 0


@pytest.mark.parametrize("blend", ["probabilities", "logits"])
def test_a_running_mean_is_the_mean_of_all(blend: str) -> None:
    logits = [3 * torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    before = torch.stack(logits)
    found = mean_logits(logits, blend)
    assert torch.equal(torch.stack(logits), before), "what was given stays as it is"
    assert (found.shape, found.dtype) == (logits[0].shape, torch.float32)
    all_ = torch.stack(logits).double()
    if blend == "logits":
        torch.testing.assert_close(found.double(), all_.mean(0), rtol=1e-6, atol=1e-6)
    else:
        torch.testing.assert_close(found.softmax(1).double(), all_.softmax(2).mean(0), rtol=1e-6, atol=1e-7)


def test_a_probability_of_zero_has_a_finite_logit() -> None:
    found = mean_logits([torch.tensor([1000.0, 0.0]).view(1, 2, 1, 1)], "probabilities").flatten()
    assert found[0] == 0
    assert found[1].item() == pytest.approx(np.log(np.finfo(np.float32).tiny))


def box_iou(clusters: list[Cluster], one: Instance) -> np.ndarray:
    boxes = np.array([cluster.box for cluster in clusters]).reshape(-1, 4)
    sides = np.minimum(boxes[:, 2:], one.box[2:]) - np.maximum(boxes[:, :2], one.box[:2])
    shared = sides.clip(0).prod(axis=1)
    areas = [np.prod(b[..., 2:] - b[..., :2], axis=-1) for b in (boxes, one.box)]
    return shared / (areas[0] + areas[1] - shared)


@pytest.mark.parametrize("threshold", [0.3, 0.55, 0.8])
def test_boxes_and_scores_are_those_of_the_authors(threshold: float) -> None:
    reference = pytest.importorskip("ensemble_boxes", reason="the reference of weighted boxes fusion; it is in the extra 'dev'")
    rng, joined = np.random.default_rng(0), 0
    for _ in range(40):
        found = []
        objects = rng.uniform((20, 20, 6, 6), (80, 80, 18, 18), (int(rng.integers(1, 8)), 4))
        for _ in range(int(rng.integers(1, 6))):
            scene = Scene("a", (100, 100))
            for given in objects:
                for _ in range(int(rng.integers(3))):
                    x, y, w, h = given + rng.normal(0, 1, 4)
                    scene.predict(box(100, 100, 0, 0, 1, 1), int(rng.integers(2)), float(rng.uniform(0.01, 1)))
                    scene.boxes[-1] = [x - w, y - h, x + w, y + h]
            one = scene.prediction
            one.boxes = one.boxes.clip(0, 100)
            found.append(one)
        ours = fuse(found, threshold, box_iou)
        boxes, scores, labels = reference.weighted_boxes_fusion(
            [p.boxes.astype(np.float64) / 100 for p in found], [p.scores for p in found], [p.categories for p in found], iou_thr=threshold
        )
        assert len(ours.scores) == len(scores)
        if len(scores):
            assert ours.scores == pytest.approx(scores, abs=1e-6)
            assert ours.categories.tolist() == labels.astype(int).tolist()
            assert ours.boxes == pytest.approx(boxes * 100, abs=1e-4)
        joined += sum(len(p.scores) for p in found) - len(scores)
    assert joined > 50


def by_hand(predictions: list[Prediction], threshold: float) -> list[tuple[float, int, np.ndarray]]:
    """Weighted boxes fusion by its definition, on whole masks: scores, classes and masks."""
    everything = [
        (float(score), int(category), mask)
        for p in predictions
        for score, category, mask in zip(p.scores, p.categories, dense(p), strict=True)
    ]
    clusters: list[tuple[int, list[tuple[float, np.ndarray]]]] = []

    def fused(members: list[tuple[float, np.ndarray]]) -> np.ndarray:
        return sum(score * mask for score, mask in members) > sum(score for score, _ in members) / 2

    for score, category, mask in sorted(everything, key=lambda entry: -entry[0]):
        best, greatest = None, threshold
        for of, members in clusters:
            other = fused(members)
            iou = (mask & other).sum() / (mask | other).sum()
            if of == category and iou > greatest:
                best, greatest = members, iou
        if best is None:
            clusters.append((category, [(score, mask)]))
        else:
            best.append((score, mask))
    result = []
    for category, members in clusters:
        mean = sum(score for score, _ in members) / len(members)
        result.append((mean * min(len(members), len(predictions)) / len(predictions), category, fused(members)))
    return result


def test_masks_are_those_of_dense_arrays() -> None:
    joined = 0
    for seed in range(15):
        found = sources(seed)
        ours, theirs = fuse(found, 0.5), by_hand(found, 0.5)
        assert len(ours.scores) == len(theirs)
        assert (np.diff(ours.scores) <= 0).all()
        for score, category, mask in zip(ours.scores, ours.categories, dense(ours), strict=True):
            match = [(s, k, m) for s, k, m in theirs if k == category and s == pytest.approx(score, abs=1e-6) and np.array_equal(m, mask)]
            assert len(match) == 1
            assert mask.any()
        joined += sum(len(p.scores) for p in found) - len(theirs)
        again = fuse(found, 0.5)
        assert (again.masks, again.scores.tobytes(), again.boxes.tobytes()) == (ours.masks, ours.scores.tobytes(), ours.boxes.tobytes())
    assert joined > 20


def test_half_of_the_scores_is_not_enough() -> None:
    one, two = (Scene("a", (10, 20)).predict(box(10, 20, 2, left, 6, left + 8), score=0.5) for left in (2, 4))
    found = fuse([one.prediction, two.prediction], 0.5)
    assert [mask.tolist() for mask in dense(found)] == [box(10, 20, 2, 4, 6, 10).tolist()]


def test_nothing_found_is_fused_to_nothing() -> None:
    empty = Scene("a", (5, 5)).predict(box(5, 5, 0, 0, 0, 0)).prediction
    for predictions in ([Prediction()], [Prediction(), empty]):
        found = fuse(predictions, 0.5)
        assert (found.scores.shape, found.boxes.shape, found.masks) == ((0,), (0, 4), [])
