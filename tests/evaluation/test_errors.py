"""The kinds of errors: scenes counted by hand, and random ones against the definitions read off dense masks."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from random_instances import Scene, batch_of, box, random_scenes

from seg.evaluation.errors import PREDICTED_KINDS, TRUTH_KINDS, InstanceVerdict, judge
from seg.metrics.coco import ImageInstances
from seg.metrics.instance import InstanceMetrics, instances_of

SIZE = (20, 30)
Row = tuple[str, int, str, int | None, float]


def image_of(scene: Scene) -> ImageInstances:
    batch, (prediction,) = batch_of([scene])
    return instances_of(batch, 0, prediction)


def kinds(scene: Scene, threshold: float = 0.5) -> list[Row]:
    """Of each instance: truth or predicted, index, kind, partner, IoU."""
    return [(v.which, v.index, v.kind, v.partner, round(v.iou, 6)) for v in judge(image_of(scene), threshold)]


def part(y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
    return box(*SIZE, y1, x1, y2, x2)


def scene() -> Scene:
    return Scene("a", SIZE)


def test_a_match_and_nothing_else() -> None:
    (true, found) = judge(image_of(scene().add(part(0, 0, 4, 5), 2).predict(part(0, 0, 4, 4), 2, 0.75)), 0.5)
    assert math.isnan(true.score)
    assert replace(true, score=0.0) == InstanceVerdict("a", "truth", 0, 2, "matched", 0.8, 0, 20, 0.0)
    assert found == InstanceVerdict("a", "predicted", 0, 2, "matched", 0.8, 0, 16, 0.75)


def test_an_iou_of_one_half_matches_and_of_one_tenth_is_a_poor_mask() -> None:
    truth = part(0, 0, 10, 10)
    assert kinds(scene().add(truth).predict(part(0, 0, 10, 5))) == [("truth", 0, "matched", 0, 0.5), ("predicted", 0, "matched", 0, 0.5)]
    poor = [("truth", 0, "poor_mask", 0, 0.1), ("predicted", 0, "poor_mask", 0, 0.1)]
    assert kinds(scene().add(truth).predict(part(0, 0, 10, 1))) == poor
    nothing = [("truth", 0, "missed", 0, 0.09), ("predicted", 0, "background", 0, 0.09)]
    assert kinds(scene().add(truth).predict(part(0, 0, 9, 1))) == nothing


def test_another_class_is_wrong_from_one_half_on() -> None:
    truth = part(0, 0, 10, 10)
    assert kinds(scene().add(truth, 1).predict(part(0, 0, 10, 5), 2)) == [
        ("truth", 0, "wrong_class", 0, 0.5),
        ("predicted", 0, "wrong_class", 0, 0.5),
    ]
    assert kinds(scene().add(truth, 1).predict(part(0, 0, 7, 7), 2)) == [
        ("truth", 0, "missed", 0, 0.49),
        ("predicted", 0, "wrong_class_poor_mask", 0, 0.49),
    ]


def test_a_duplicate_is_a_further_prediction_of_a_match() -> None:
    found = kinds(scene().add(part(0, 0, 10, 10)).predict(part(0, 0, 10, 6), score=0.9).predict(part(0, 0, 10, 9), score=0.6))
    assert found == [("truth", 0, "matched", 1, 0.9), ("predicted", 0, "duplicate", 0, 0.6), ("predicted", 1, "matched", 0, 0.9)]


def test_a_truth_cut_into_three() -> None:
    cut = scene().add(part(0, 0, 10, 12))
    for x in (0, 4, 8):
        cut.predict(part(0, x, 10, x + 4))
    third = round(1 / 3, 6)
    assert kinds(cut) == [("truth", 0, "split", 0, third), *[("predicted", i, "split", 0, third) for i in range(3)]]


def test_the_larger_part_of_a_cut_may_match() -> None:
    cut = scene().add(part(0, 0, 10, 10)).predict(part(0, 0, 10, 3)).predict(part(0, 3, 10, 10))
    assert kinds(cut) == [("truth", 0, "matched", 1, 0.7), ("predicted", 0, "split", 0, 0.3), ("predicted", 1, "matched", 0, 0.7)]


def test_a_prediction_over_two_that_touch() -> None:
    both = scene().add(part(0, 0, 10, 4)).add(part(0, 4, 10, 8)).predict(part(0, 0, 10, 8)).predict(part(12, 12, 13, 13), 2)
    # at an IoU of exactly one half the prediction is a match of the first
    assert kinds(both)[:3] == [("truth", 0, "matched", 0, 0.5), ("truth", 1, "merged", 0, 0.5), ("predicted", 0, "matched", 0, 0.5)]
    wider = scene().add(part(0, 0, 10, 4)).add(part(0, 4, 10, 8)).predict(part(0, 0, 11, 8))
    joined = round(40 / 88, 6)
    assert kinds(wider) == [("truth", 0, "merged", 0, joined), ("truth", 1, "merged", 0, joined), ("predicted", 0, "merged", 0, joined)]


def test_crowds_are_no_errors() -> None:
    crowd = part(0, 0, 10, 10)
    crowded = scene().add(crowd, 1, crowd=True).predict(part(0, 0, 4, 4)).predict(part(0, 8, 10, 12)).predict(part(0, 0, 4, 4), 2)
    assert kinds(crowded) == [
        ("predicted", 0, "crowd", None, 0.0),
        ("predicted", 1, "background", None, 0.0),  # exactly half of it lies in the crowd
        ("predicted", 2, "background", None, 0.0),  # the crowd is of another class
    ]
    inside = scene().add(crowd, 1, crowd=True).add(part(2, 2, 6, 6)).predict(part(2, 2, 6, 6)).predict(part(2, 2, 6, 5))
    assert kinds(inside) == [("truth", 1, "matched", 0, 1.0), ("predicted", 0, "matched", 1, 1.0), ("predicted", 1, "crowd", 1, 0.75)]


def test_what_scores_less_than_the_threshold_does_not_exist() -> None:
    truth = part(0, 0, 10, 10)
    low = scene().add(truth).predict(truth, score=0.3).predict(part(12, 12, 14, 14), score=0.7)
    assert kinds(low, 0.7) == [("truth", 0, "missed", None, 0.0), ("predicted", 1, "background", None, 0.0)]
    assert kinds(low, 0.3)[0] == ("truth", 0, "matched", 0, 1.0)


# The definitions once more, for single instances and on dense masks.


def references(scene: Scene, threshold: float) -> list[list[tuple[str, int, str]]]:
    """The kinds of all instances, for each of the equally good pairings."""
    truth = {i: (m, scene.categories[i]) for i, m in enumerate(scene.truth) if not scene.crowd[i]}
    crowds = [(m, scene.categories[i]) for i, m in enumerate(scene.truth) if scene.crowd[i]]
    found = {
        i: (m, c)
        for i, (m, c, s) in enumerate(zip(scene.predicted, scene.predicted_categories, scene.scores, strict=True))
        if np.float32(s) >= np.float32(threshold)
    }
    cuts = {t: parts_of(t, truth, found) for t in truth}
    joins = {p: parts_of(p, found, truth) for p in found}

    def fits(t: int, p: int, low: float, same: bool) -> bool:
        return (truth[t][1] == found[p][1]) is same and iou_of(truth[t][0], found[p][0]) >= low

    def kinds_with(pairs: dict[int, int]) -> list[tuple[str, int, str]]:
        kind_of = {}
        for p, (mask, category) in found.items():
            if p in pairs.values():
                kind = "matched"
            elif any(c == category and (m & mask).sum() > mask.sum() / 2 for m, c in crowds):
                kind = "crowd"
            elif any(fits(t, p, 0.5, True) for t in truth):
                kind = "duplicate"
            elif joins[p]:
                kind = "merged"
            elif any(p in parts for parts in cuts.values()):
                kind = "split"
            elif any(fits(t, p, 0.5, False) for t in truth):
                kind = "wrong_class"
            elif any(fits(t, p, 0.1, True) for t in truth):
                kind = "poor_mask"
            elif any(fits(t, p, 0.1, False) for t in truth):
                kind = "wrong_class_poor_mask"
            else:
                kind = "background"
            kind_of[p] = kind
        rows = []
        for t in truth:
            if t in pairs:
                kind = "matched"
            elif any(t in parts for parts in joins.values()):
                kind = "merged"
            elif cuts[t]:
                kind = "split"
            elif any(fits(t, p, 0.5, False) and kind_of[p] == "wrong_class" for p in found):
                kind = "wrong_class"
            elif any(fits(t, p, 0.1, True) and kind_of[p] == "poor_mask" for p in found):
                kind = "poor_mask"
            else:
                kind = "missed"
            rows.append(("truth", t, kind))
        return rows + [("predicted", p, kind) for p, kind in kind_of.items()]

    return [kinds_with(pairs) for pairs in best_pairs(truth, found)]


Instances = dict[int, tuple[np.ndarray, int]]


def iou_of(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / max((a | b).sum(), 1)


def best_pairs(truth: Instances, found: Instances) -> list[dict[int, int]]:
    """Of the pairings {truth: prediction} with most pairs those with the largest sum of IoU; several where it is equal."""
    ious = {(t, p): iou_of(truth[t][0], found[p][0]) for t in truth for p in found if truth[t][1] == found[p][1]}
    eligible = {pair: iou for pair, iou in ious.items() if iou >= 0.5}

    def extend(left: list[int], taken: frozenset[int]) -> list[dict[int, int]]:
        if not left:
            return [{}]
        own = [{left[0]: p} | rest for t, p in eligible if t == left[0] and p not in taken for rest in extend(left[1:], taken | {p})]
        return own + extend(left[1:], taken)

    def worth(pairs: dict[int, int]) -> tuple[int, float]:
        return len(pairs), round(sum(eligible[pair] for pair in pairs.items()), 9)

    every = extend(list(truth), frozenset())
    best = max(map(worth, every))
    return [pairs for pairs in every if worth(pairs) == best]


def parts_of(whole: int, wholes: Instances, others: Instances) -> list[int]:
    mask, category = wholes[whole]
    inside = [i for i, (m, c) in others.items() if c == category and (m & mask).sum() > m.sum() / 2]
    taken, union = [], np.zeros_like(mask)
    for i in sorted(inside, key=lambda i: -(others[i][0] & mask).sum()):
        if (others[i][0] & ~union).sum() > others[i][0].sum() / 2:
            taken.append(i)
            union |= others[i][0]
    return taken if len(taken) >= 2 and (union & mask).sum() >= mask.sum() / 2 else []


def crumbled(seed: int) -> Scene:
    """Boxes of two classes that touch and overlap, predicted joined, cut into stripes, or shifted."""
    rng = np.random.default_rng(seed)
    own = Scene(f"crumbled{seed}", (24, 24))
    for _ in range(rng.integers(6)):
        y, x, h, w = *rng.integers(0, 16, 2), *rng.integers(2, 9, 2)
        category = int(rng.integers(1, 3))
        own.add(box(24, 24, y, x, y + h, x + w), category, crowd=bool(rng.random() < 0.1))
        if rng.random() < 0.5:  # a neighbour that touches
            own.add(box(24, 24, y, x + w, y + h, x + w + int(rng.integers(1, 6))), category)
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(max(len(own.truth), 1)))
        mask, category = (own.truth[place], own.categories[place]) if own.truth else (box(24, 24, 0, 0, 3, 3), 1)
        way = rng.integers(3)
        if way == 0:
            others = [m for m, c in zip(own.truth, own.categories, strict=True) if c == category] or [mask]
            pieces = [np.any([mask, *(others[i] for i in rng.integers(len(others), size=rng.integers(1, 5)))], axis=0)]
        elif way == 1:
            stripes = np.arange(24) // int(rng.integers(2, 5))
            pieces = [mask & (stripes == s) for s in range(12) if rng.random() < 0.9]
        else:
            pieces = [np.roll(mask, rng.integers(-3, 4, 2), (0, 1))]
        for piece in pieces:
            if piece.any():
                own.predict(piece, category if rng.random() < 0.75 else 3 - category, float(rng.random()))
    return own


SCENES = [crumbled(seed) for seed in range(500)] + [s for seed in range(6) for s in random_scenes(seed)]


def test_random_scenes_agree_with_the_definitions() -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for own in SCENES:
        judged = [(v.which, v.index, v.kind) for v in judge(image_of(own), 0.3)]
        assert judged in references(own, 0.3), own.image_id
        seen.update((which, kind) for which, _, kind in judged)
    assert all(seen["truth", kind] >= 5 for kind in TRUTH_KINDS), seen
    assert all(seen["predicted", kind] >= 5 for kind in PREDICTED_KINDS), seen


def test_counts_are_those_of_the_headline_figures() -> None:
    for own in SCENES:
        metrics = InstanceMetrics(["background", "a", "b", "c"], 0.3, 100)
        metrics.update(*batch_of([own]))
        counts = Counter((v.category, v.which, v.kind) for v in judge(image_of(own), 0.3))
        for category, figures in metrics.tallies.items():
            of = {w: {k: n for (c, which, k), n in counts.items() if c == category and which == w} for w in ("truth", "predicted")}
            at, truth, predicted = figures.at[0], of["truth"], of["predicted"]
            assert (sum(truth.values()), sum(predicted.values())) == (figures.num_truth, figures.num_predicted)
            assert truth.get("matched", 0) == predicted.get("matched", 0) == at.tp
            assert sum(truth.values()) - at.tp == at.fn
            assert sum(predicted.values()) - at.tp - predicted.get("crowd", 0) == at.fp


def test_partners_are_of_the_highest_iou_among_those_that_the_kind_speaks_of() -> None:
    for own in SCENES[:150]:
        verdicts = judge(image_of(own), 0.3)
        for v in verdicts:
            mask = (own.truth if v.which == "truth" else own.predicted)[v.index]
            assert v.area == mask.sum()
            if v.partner is None:
                assert v.iou == 0
                continue
            others = own.predicted if v.which == "truth" else own.truth
            assert v.iou == pytest.approx(iou_of(mask, others[v.partner]))
            other = next(o for o in verdicts if o.which != v.which and o.index == v.partner)
            if v.kind == "matched":
                assert (other.kind, other.partner) == ("matched", v.index)
            if v.kind in ("duplicate", "merged", "split", "poor_mask"):
                assert other.category == v.category
            if v.kind.startswith("wrong_class"):
                assert other.category != v.category
            if v.kind == "duplicate":
                assert other.kind == "matched"
            if v.which == "truth" and v.kind in ("wrong_class", "poor_mask"):
                assert other.kind == v.kind
