"""Panoptic quality of things and stuff against torchmetrics, and by hand."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.detection import PanopticQuality

from seg.data.labelmaps import boxes_of, encode, with_stuff
from seg.data.sample import IGNORE, Prediction, Sample
from seg.loading.batch import collate
from seg.metrics.panoptic import PanopticMetrics

NAMES, THINGS = ["sky", "grass", "cell", "cow", "unseen"], {2, 3, 4}
SIZE = (24, 30)


def scene(rng: np.random.Generator, cells: np.ndarray, changed: float) -> tuple[np.ndarray, np.ndarray]:
    """Class of each pixel and number of its thing, 0 of stuff: `cells` (24, 30) of numbers, each of a class, with pixels at random."""
    moved = np.where(rng.random(SIZE) < changed, rng.integers(0, 12, SIZE), cells)
    classes = np.array([0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 2])[moved]
    return classes, np.where(np.isin(classes, list(THINGS)), moved, 0)


def sample_of(name: str, classes: np.ndarray, numbers: np.ndarray, void: np.ndarray) -> Sample:
    semantic = np.where(void, IGNORE, classes).astype(np.uint8)
    there = np.unique(numbers[numbers > 0])
    ids = np.searchsorted(there, numbers).astype(np.int32)[:, :, None] + 1
    ids[numbers == 0] = 0
    kinds = np.array([classes[numbers == n][0] for n in there], np.int32)
    return Sample(name, np.zeros((*SIZE, 1), np.uint8), semantic, ids, kinds, np.zeros(len(there), bool))


def predicted(classes: np.ndarray, numbers: np.ndarray) -> Prediction:
    whole = with_stuff(sample_of("p", classes, numbers, np.zeros(SIZE, bool)), THINGS)
    count = len(whole.categories)
    boxes, masks = boxes_of(whole.instances, count).astype(np.float32), encode(whole.instances, count)
    return Prediction(scores=np.full(count, 0.8, np.float32), categories=whole.categories, boxes=boxes, masks=masks, segments=True)


def metrics() -> PanopticMetrics:
    return PanopticMetrics(NAMES, 0.5, 100, THINGS)


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_torchmetrics(seed: int) -> None:
    """It removes what has no truth from unions, and forgives a segment most of which lies there, as panopticapi does."""
    rng = np.random.default_rng(seed)
    reference = PanopticQuality(things=THINGS, stuffs={0, 1}, return_sq_and_rq=True, return_per_class=True)
    own, halves = metrics(), [metrics(), metrics()]
    for index in range(4):
        cells = np.kron(rng.integers(0, 12, (4, 5)), np.ones((6, 6), int))
        classes, numbers = scene(rng, cells, 0.05)
        void = np.zeros(SIZE, bool)
        void[: 6 * int(rng.integers(1, 3)), : 6 * int(rng.integers(1, 4))] = True
        guessed = scene(rng, cells, 0.25)
        shown = np.stack([np.where(void, 9, classes), np.where(void, 0, numbers)], axis=2)
        reference.update(torch.from_numpy(np.stack(guessed, axis=2))[None], torch.from_numpy(shown)[None])
        batch = collate([with_stuff(sample_of(str(index), classes, numbers, void), THINGS)])
        for each in (own, halves[index % 2]):
            each.update(batch, [predicted(*guessed)])
    expected = dict(zip([2, 3, 4, 0, 1], reference.compute().numpy(), strict=True))  # pq, sq, rq of each class, things first
    rows, figures = own.per_class(), own.figures()
    for index, name in enumerate(NAMES[:4]):
        assert [rows[name][figure] for figure in ("pq", "sq", "rq")] == pytest.approx(expected[index], abs=1e-6)
    assert math.isnan(rows["unseen"]["pq"])
    for place, figure in enumerate(("pq", "sq", "rq")):
        for group, members in {"": range(4), "_things": (2, 3), "_stuff": (0, 1)}.items():
            assert figures[figure + group] == pytest.approx(np.mean([expected[c][place] for c in members]), abs=1e-6)
    assert 0.05 < figures["pq_things"] < 0.95
    joined = metrics()
    joined.load_states([half.state() for half in halves])
    assert joined.figures() == pytest.approx(figures, nan_ok=True)
    once = own.resampled([str(i) for i in range(4)], np.ones((2, 4)))
    assert {name: values[1] for name, values in once.items()} == pytest.approx({name: figures[name] for name in once}, nan_ok=True)


def test_what_is_ignored_counts_for_no_class_and_a_crowd_for_its_own() -> None:
    """A row of ten pixels: grass, a crowd of cows that the class map knows, and one that it ignores."""
    semantic = np.array([[1, 1, 1, 1, 3, 3, 3, 255, 255, 255]], np.uint8)
    ids = np.array([[0, 0, 0, 0, 1, 1, 1, 2, 2, 2]], np.int32)[:, :, None]
    sample = Sample("a", np.zeros((1, 10, 1), np.uint8), semantic, ids, np.array([3, 3], np.int32), np.array([True, True]))

    def found(*segments: tuple[int, int, int]) -> dict[str, dict[str, float]]:
        shown = np.zeros((1, 10, 1), np.int32)
        for number, (start, stop, _) in enumerate(segments, start=1):
            shown[:, start:stop] = number
        count, kinds = len(segments), np.array([c for *_, c in segments], np.int32)
        boxes = boxes_of(shown, count).astype(np.float32)
        said = Prediction(scores=np.ones(count, np.float32), categories=kinds, boxes=boxes, masks=encode(shown, count), segments=True)
        own = metrics()
        own.update(collate([with_stuff(sample, THINGS)]), [said])
        return own.per_class()

    assert math.isnan(found((0, 4, 1), (4, 7, 3))["cow"]["pq"]), "a cow in a crowd of cows is neither right nor wrong"
    assert found((0, 4, 1), (4, 7, 2))["cell"]["pq"] == 0, "a cell there is wrong"
    assert math.isnan(found((0, 4, 1), (7, 10, 2))["cell"]["pq"]), "a cell in what is ignored is neither right nor wrong"
    assert found((0, 3, 1), (7, 10, 3))["grass"]["pq"] == pytest.approx(3 / 4)
    assert found((0, 3, 1), (8, 10, 1))["grass"]["pq"] == pytest.approx(3 / 4), "what is ignored does not lie in a union"


def test_without_stuff_there_are_no_figures_of_it() -> None:
    empty = PanopticMetrics(["cell"], 0.5, 100, {0})
    assert "pq_things" in empty.figures()
    assert "pq_stuff" not in empty.figures()
