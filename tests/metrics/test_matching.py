"""Matching against every possible pairing, panoptic quality and AJI against loops over dense masks, and by hand."""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from random_instances import box, rle_of

from seg.metrics.matching import PANOPTIC, THRESHOLDS, Matches, Overlaps, Tally, assign, count, jaccard_terms, measure_overlaps, tally

Masks = Sequence[np.ndarray]


def overlaps_of(truth: Masks, predicted: Masks, crowd: Masks = ()) -> Overlaps:
    return measure_overlaps([rle_of(m) for m in truth], [rle_of(m) for m in crowd], [rle_of(m) for m in predicted])


def random_masks(seed: int, side: int = 7) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Up to four truths, up to four predictions near them, and up to two crowds; some are empty, some the same."""
    rng = np.random.default_rng(seed)
    truth = [random_box(rng, side) for _ in range(rng.integers(5))]
    sources = [*truth, random_box(rng, side)]
    predicted = [sources[rng.integers(len(sources))] ^ (rng.random((side, side)) < 0.06) for _ in range(rng.integers(5))]
    predicted += [np.zeros((side, side), bool)] if rng.random() < 0.1 else []
    return truth, predicted, [random_box(rng, side) for _ in range(rng.integers(3))]


def random_box(rng: np.random.Generator, side: int) -> np.ndarray:
    y, x, h, w = rng.integers(0, side - 1), rng.integers(0, side - 1), rng.integers(1, 5), rng.integers(1, 5)
    return box(side, side, y, x, y + h, x + w)


def areas(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    return int((a & b).sum()), int((a | b).sum())


def best_pairing(eligible: np.ndarray, iou: np.ndarray) -> tuple[int, float]:
    """The most pairs, and the largest sum of IoU among pairings with as many: by trying all."""
    rows, columns = eligible.shape
    slots = [*range(columns), *[None] * rows]  # None: without a partner
    best = (0, 0.0)
    for chosen in set(itertools.permutations(slots, rows)):
        pairs = [(r, c) for r, c in enumerate(chosen) if c is not None and eligible[r, c]]
        best = max(best, (len(pairs), math.fsum(iou[p] for p in pairs)))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_overlaps_agree_with_dense_masks(seed: int) -> None:
    truth, predicted, crowd = random_masks(seed)
    found = overlaps_of(truth, predicted, crowd)
    expected = np.array([[areas(t, p) for p in predicted] for t in truth], int).reshape(len(truth), len(predicted), 2)
    np.testing.assert_array_equal(found.intersections, expected[..., 0])
    np.testing.assert_array_equal(found.unions, expected[..., 1])
    assert found.truth_areas.tolist() == [m.sum() for m in truth]
    assert found.areas.tolist() == [m.sum() for m in predicted]
    assert found.in_crowd.tolist() == [any((c & p).sum() > p.sum() / 2 for c in crowd) for p in predicted]


def test_intersections_of_large_masks_are_exact() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = [[rng.random((700, 900)) < share for share in (0.1, 0.5, 0.97)] for _ in range(2)]
    found = overlaps_of(truth, predicted)
    assert found.intersections.tolist() == [[(t & p).sum() for p in predicted] for t in truth]


@pytest.mark.parametrize("seed", range(60))
def test_counts_are_those_of_the_best_of_all_pairings(seed: int) -> None:
    truth, predicted, crowd = random_masks(seed)
    found = overlaps_of(truth, predicted, crowd)
    counted = tally(found)
    iou = np.array([[Fraction(*areas(t, p)) for p in predicted] for t in truth], object).reshape(len(truth), len(predicted))
    cases = [(at, iou >= Fraction(percent, 100)) for at, percent in zip(counted.at, THRESHOLDS, strict=True)]
    for at, eligible in [*cases, (counted.panoptic, iou > Fraction(1, 2))]:
        pairs, total = best_pairing(eligible, iou.astype(float))
        assert (at.tp, at.fn) == (pairs, len(truth) - pairs)
        assert at.iou_units / 2**60 == pytest.approx(total, abs=1e-12)
        if not found.in_crowd.any():
            assert at.fp == len(predicted) - pairs
        else:
            assert len(predicted) - pairs - found.in_crowd.sum() <= at.fp <= len(predicted) - pairs


@pytest.mark.parametrize("seed", range(60))
def test_any_weights_are_paired_at_their_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 6)), int(rng.integers(1, 5)))
    eligible, iou = rng.random(shape) < 0.5, np.round(rng.random(shape), 1)
    rows, columns = assign(eligible, iou)
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    assert eligible[rows, columns].all()
    assert (len(rows), iou[rows, columns].sum()) == pytest.approx(best_pairing(eligible, iou))


@pytest.mark.parametrize("percent", THRESHOLDS)
def test_an_iou_of_exactly_the_threshold_is_a_match(percent: int) -> None:
    truth = np.ones((10, 10), bool)
    exact = np.arange(100).reshape(10, 10) < percent
    below = np.arange(100).reshape(10, 10) < percent - 1
    for predicted, at_own in ((exact, 1), (below, 0)):
        found = tally(overlaps_of([truth], [predicted]))
        assert [m.tp for m in found.at] == [int(t < percent or (t == percent and at_own)) for t in THRESHOLDS]


def test_an_iou_of_exactly_one_half_is_no_match_of_panoptic_quality() -> None:
    truth, half = box(4, 4, 0, 0, 1, 4), box(4, 4, 0, 0, 1, 2)
    found = tally(overlaps_of([truth], [half]))
    assert found.at[0] == Matches(tp=1, fp=0, fn=0, iou_units=2**59)
    assert found.panoptic == Matches(tp=0, fp=1, fn=1)
    more = tally(overlaps_of([truth], [box(4, 4, 0, 0, 1, 3)]))
    assert more.panoptic == Matches(tp=1, fp=0, fn=0, iou_units=3 * 2**60 // 4)


def test_an_iou_just_beside_one_half_is_told_apart_in_large_images() -> None:
    truth = np.zeros((1200, 1000), bool)
    truth[:1000] = True
    for pixels, tp in ((500_000, 1), (499_999, 0)):
        predicted = np.arange(truth.size).reshape(truth.shape) < pixels
        assert tally(overlaps_of([truth], [predicted])).at[0].tp == tp
    predicted = np.arange(truth.size).reshape(truth.shape) < 500_001
    assert tally(overlaps_of([truth], [predicted])).panoptic.tp == 1


def test_crowds_by_hand() -> None:
    crowd = box(4, 8, 0, 0, 4, 4)
    inside, half, outside = box(4, 8, 0, 1, 1, 3), box(4, 8, 0, 3, 1, 5), box(4, 8, 0, 6, 1, 8)
    found = tally(overlaps_of([], [inside, half, outside], [crowd]))
    assert found.at[0] == Matches(tp=0, fp=2, fn=0), "half inside is not more than half"
    assert (found.num_truth, found.num_predicted) == (0, 3)
    assert tally(overlaps_of([inside], [inside, inside], [crowd])).at[0].fp == 0, "the one without partner is dropped"
    assert tally(overlaps_of([inside], [inside], [crowd])).at[0].tp == 1, "a crowd takes no pair away"
    third = [box(4, 8, 0, 0, 4, 1), box(4, 8, 0, 1, 4, 2)]
    assert tally(overlaps_of([], [box(4, 8, 0, 0, 1, 3)], third)).at[0].fp == 1, "crowds do not add up"


def test_ratios_by_hand() -> None:
    at = Matches(tp=6, fp=2, fn=4, iou_units=int(4.5 * 2**60))
    assert (at.precision, at.recall, at.f1, at.ratio) == (6 / 8, 6 / 10, 12 / 18, 6 / 12)
    assert (at.mean_iou, at.sq, at.f1, at.pq) == pytest.approx((0.75, 0.75, 6 / 9, 4.5 / 9))
    assert at.pq == pytest.approx(at.sq * at.f1)
    nothing = Matches()
    assert all(math.isnan(v) for v in (nothing.precision, nothing.recall, nothing.f1, nothing.ratio, nothing.mean_iou, nothing.pq))
    assert all(math.isnan(v) for v in (nothing.sq, nothing.f1))
    missed = Matches(fn=2)
    assert (missed.recall, missed.f1, missed.ratio, missed.pq, missed.sq) == (0,) * 5
    assert math.isnan(missed.precision)
    assert math.isnan(missed.mean_iou)
    assert math.isnan(Matches(fp=2).recall)


def test_tallies_add_up_in_any_order() -> None:
    each = [tally(overlaps_of(t, p, c)) for t, p, c in map(random_masks, range(30))]
    total = sum(each, start=Tally())
    assert sum(reversed(each), start=Tally()) == total
    assert total.num_truth == sum(len(random_masks(seed)[0]) for seed in range(30))
    assert [m.tp for m in total.at] == [sum(t.at[k].tp for t in each) for k in range(len(THRESHOLDS))]
    assert total.panoptic.iou_units == sum(t.panoptic.iou_units for t in each)
    assert total.aji == sum(t.intersection for t in each) / sum(t.union for t in each)
    assert math.isnan(Tally().aji)


def aji_terms_by_loops(truth: Masks, predicted: Masks, in_crowd: Sequence[bool]) -> tuple[int, int]:
    """Algorithm 1 of Kumar et al. 2017, on dense masks."""
    inner = outer = 0
    used = set()
    for t in truth:
        ious = [areas(t, p)[0] / areas(t, p)[1] for p in predicted]
        best = max(range(len(ious)), key=lambda k: ious[k], default=None)
        if best is None or ious[best] == 0:
            outer += int(t.sum())
            continue
        used.add(best)
        inner, outer = inner + areas(t, predicted[best])[0], outer + areas(t, predicted[best])[1]
    return inner, outer + sum(int(p.sum()) for k, p in enumerate(predicted) if k not in used and not in_crowd[k])


@pytest.mark.parametrize("seed", range(60))
def test_aji_agrees_with_loops_over_dense_masks(seed: int) -> None:
    truth, predicted, crowd = random_masks(seed)
    found = overlaps_of(truth, predicted, crowd)
    assert jaccard_terms(found) == aji_terms_by_loops(truth, predicted, found.in_crowd.tolist())


def test_an_empty_true_mask_meets_nothing() -> None:
    empty = np.zeros((4, 4), bool)
    found = overlaps_of([empty], [empty, ~empty])
    assert not any(found.reach(percent).any() for percent in THRESHOLDS)
    assert not found.exceed(PANOPTIC).any()
    assert not found.iou.any()
    assert count(found, found.reach(50)) == Matches(tp=0, fp=2, fn=1)
