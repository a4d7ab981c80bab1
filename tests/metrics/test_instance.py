"""The streaming instance figures: by hand, against torchmetrics and loops over dense masks, and split over ranks."""

import gc
import itertools
import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from random_instances import Scene, batch_of, box, random_scenes
from torchmetrics.detection import PanopticQuality

from seg.data.sample import Prediction
from seg.metrics.base import ImageScore
from seg.metrics.instance import InstanceMetrics

NAMES = ["background", "cell", "nucleus", "debris"]
HEADLINES = [
    *[f"{kind}_{name}" for kind in ("mask", "box") for name in ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar")],
    *["f1_50", "precision_50", "recall_50", "tp/(tp+fp+fn)_50", "pq", "sq", "rq", "aji"],
]
COLUMNS = [
    *["mask_ap", "mask_ap50", "mask_ap75", "box_ap", "f1_50", "precision_50", "recall_50", "tp/(tp+fp+fn)_50", "pq", "sq", "rq"],
    *["num_truth", "num_predicted"],
]


def scored(*scenes: Scene, threshold: float = 0.5, names: Sequence[str] = NAMES, size: int = 3) -> tuple[InstanceMetrics, list[ImageScore]]:
    """Metrics that saw the scenes, `size` in a batch."""
    metrics, scores = InstanceMetrics(names, threshold, 100), []
    for start in range(0, len(scenes), size):
        scores += metrics.update(*batch_of(scenes[start : start + size]))
    return metrics, scores


def nans(values: dict[str, float]) -> set[str]:
    return {name for name, v in values.items() if math.isnan(v)}


def small(y: int = 0, x: int = 0, height: int = 2, width: int = 2) -> np.ndarray:
    return box(10, 12, y, x, y + height, x + width)


@pytest.mark.filterwarnings("error")
def test_nothing_at_all_is_nan_everywhere() -> None:
    for scenes in ([], [Scene("a", (10, 12))]):
        metrics, scores = scored(*scenes)
        assert nans(metrics.figures()) == set(HEADLINES)
        assert list(metrics.figures()) == HEADLINES
        assert list(metrics.per_class()) == ["cell", "nucleus", "debris"]
        assert all(list(row) == COLUMNS and nans(row) == set(COLUMNS) for row in metrics.per_class().values())
        assert all(nans(s.figures) == {"f1_50", "pq", "aji"} and math.isnan(s.score) for s in scores)
        assert all(row["tp"] == 0 and math.isnan(row["f1"]) for row in metrics.tables()["matching"])
        assert all(math.isnan(row["value"]) for row in metrics.tables()["coco"])


def test_one_image_by_hand() -> None:
    scene = Scene("a", (10, 12)).add(small()).add(small(4, 4)).add(small(8, 8), category=2)
    scene.predict(small(), score=0.9)  # right
    scene.predict(small(4, 4, 2, 3), score=0.8)  # 4 of 6 pixels
    scene.predict(small(8, 8), category=1, score=0.7)  # the wrong class
    scene.predict(small(8, 0), category=2, score=0.4)  # below the threshold
    metrics, (score,) = scored(scene)
    assert score.image_id == "a"
    assert score.by == "pq"
    pq = [(1 + 4 / 6) / 2.5, 0]
    expected = {"num_truth": 3, "num_predicted": 3, "tp_50": 2, "fp_50": 1, "fn_50": 1, "f1_50": 2 / 3}
    assert score.figures == pytest.approx(expected | {"pq": np.mean(pq), "aji": 8 / (4 + 6 + 4 + 4)})
    figures = metrics.figures()
    assert {f: figures[f] for f in HEADLINES[14:]} == pytest.approx(
        {
            "f1_50": 2 / 3,
            "precision_50": 2 / 3,
            "recall_50": 2 / 3,
            "tp/(tp+fp+fn)_50": 1 / 2,
            "pq": np.mean(pq),
            "sq": np.mean([(1 + 4 / 6) / 2, 0]),
            "rq": np.mean([2 / 2.5, 0]),
            "aji": 8 / 18,
        }
    )
    rows = metrics.per_class()
    assert rows["cell"] == pytest.approx(
        {
            "mask_ap": (4 * 1.0 + 6 * 51 / 101) / 10,  # both found up to an IoU of 0.65, then one
            "mask_ap50": 1,
            "mask_ap75": 51 / 101,
            "box_ap": (4 * 1.0 + 6 * 51 / 101) / 10,
            "precision_50": 2 / 3,
            "recall_50": 1,
            "f1_50": 4 / 5,
            "tp/(tp+fp+fn)_50": 2 / 3,
            "pq": pq[0],
            "sq": (1 + 4 / 6) / 2,
            "rq": 2 / 2.5,
            "num_truth": 2,
            "num_predicted": 3,
        }
    )
    assert nans(rows["nucleus"]) == {"precision_50"}
    assert (rows["nucleus"]["num_truth"], rows["nucleus"]["num_predicted"], rows["nucleus"]["pq"]) == (1, 0, 0)
    assert nans(rows["debris"]) == set(COLUMNS)
    matching = metrics.tables()["matching"]
    assert [r["iou_threshold"] for r in matching] == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]
    assert [(r["tp"], r["fp"], r["fn"]) for r in matching] == [(2, 1, 1)] * 4 + [(1, 2, 2)] * 5
    assert [r["mean_matched_iou"] for r in matching] == pytest.approx([5 / 6] * 4 + [1] * 5)
    assert matching[8] == pytest.approx(
        {
            "iou_threshold": 0.9,
            "tp": 1,
            "fp": 2,
            "fn": 2,
            "precision": 1 / 3,
            "recall": 1 / 3,
            "f1": 1 / 3,
            "tp/(tp+fp+fn)": 1 / 5,
            "mean_matched_iou": 1,
        }
    )
    table = metrics.tables()["coco"]
    assert {f"{r['kind']}_{r['figure']}": r["value"] for r in table} == pytest.approx({f: figures[f] for f in HEADLINES[:14]}, nan_ok=True)
    assert table[2] | {"value": 0} == {
        "kind": "mask",
        "figure": "ap75",
        "iou_thresholds": "0.75",
        "area": "all",
        "max_detections": 100,
        "value": 0,
    }


@pytest.mark.filterwarnings("error")
def test_only_truth_and_only_predictions() -> None:
    missed, (score,) = scored(Scene("a", (10, 12)).add(small()))
    assert score.figures == pytest.approx(
        {"num_truth": 1, "num_predicted": 0, "tp_50": 0, "fp_50": 0, "fn_50": 1, "f1_50": 0, "pq": 0, "aji": 0}
    )
    assert nans(missed.figures()) == {
        "precision_50",
        *[f"{k}_ap_{area}" for k in ("mask", "box") for area in ("medium", "large")],
    }
    assert {missed.figures()[f] for f in ("mask_ap", "mask_ar", "box_ap", "f1_50", "recall_50", "pq", "sq", "rq", "aji")} == {0}
    invented, (score,) = scored(Scene("a", (10, 12)).predict(small()))
    assert score.figures == pytest.approx(
        {"num_truth": 0, "num_predicted": 1, "tp_50": 0, "fp_50": 1, "fn_50": 0, "f1_50": 0, "pq": 0, "aji": 0}
    )
    assert nans(invented.figures()) == {*HEADLINES[:14], "recall_50"}
    assert invented.per_class()["cell"]["num_truth"] == 0
    assert invented.per_class()["cell"]["num_predicted"] == 1


def test_a_score_at_the_threshold_counts_as_float32() -> None:
    """0.7 as float32 is a little less than 0.7."""
    _, (score,) = scored(Scene("a", (10, 12)).add(small()).predict(small(), score=0.7), threshold=0.7)
    assert score.figures["tp_50"] == 1
    metrics, (score,) = scored(Scene("a", (10, 12)).predict(small(), score=0.69), threshold=0.7)
    assert score.figures["num_predicted"] == 0
    assert nans(metrics.per_class()["cell"]) == set(COLUMNS), "a class predicted below the threshold alone is absent"


def test_average_precision_does_not_depend_on_the_threshold() -> None:
    scenes = random_scenes(0)
    low, high = (scored(*scenes, threshold=t)[0].figures() for t in (0.0, 0.95))
    assert {k: low[k] for k in HEADLINES[:14]} == pytest.approx({k: high[k] for k in HEADLINES[:14]}, nan_ok=True)
    assert low["recall_50"] > high["recall_50"]


def test_crowds_and_truth_without_a_pixel_are_not_counted() -> None:
    scene = Scene("a", (10, 12)).add(small(0, 0, 6, 6), crowd=True).add(small(8, 8)).add(np.zeros((10, 12), bool))
    scene.predict(small(1, 1)).predict(small(8, 8)).predict(small(5, 4, 2, 6), score=0.8)
    metrics, (score,) = scored(scene)
    expected = {"num_truth": 1, "num_predicted": 3, "tp_50": 1, "fp_50": 1, "fn_50": 0, "f1_50": 2 / 3, "pq": 1 / 1.5, "aji": 4 / 16}
    assert score.figures == pytest.approx(expected)
    assert metrics.per_class()["cell"]["num_truth"] == 1
    assert metrics.figures()["mask_ap"] == 1, "COCO ignores what lies in a crowd, and the last comes after all recall is reached"
    other = Scene("a", (10, 12)).add(small(0, 0, 6, 6), category=2, crowd=True).predict(small(1, 1), category=1)
    assert scored(other)[1][0].figures["fp_50"] == 1, "a crowd of another category excuses nothing"
    only, (score,) = scored(Scene("a", (10, 12)).add(small(), crowd=True))
    assert nans(score.figures) == {"f1_50", "pq", "aji"}
    assert nans(only.per_class()["cell"]) == set(COLUMNS)


def test_hundreds_of_instances_in_an_image() -> None:
    scene = Scene("a", (40, 40))
    for place in range(400):
        y, x = divmod(place, 20)
        scene.add(box(40, 40, 2 * y, 2 * x, 2 * y + 1, 2 * x + 2)).predict(box(40, 40, 2 * y, 2 * x, 2 * y + 1, 2 * x + 1 + place % 2))
    metrics, (score,) = scored(scene)
    assert (score.figures["tp_50"], score.figures["aji"]) == (400, 600 / 800)
    assert (metrics.per_class()["cell"]["pq"], metrics.figures()["mask_ar"]) == pytest.approx((200 / 400, (100 + 9 * 50) / 10 / 400))


def test_padding_and_sizes_of_images_do_not_matter() -> None:
    scenes = random_scenes(4)
    assert len({s.size for s in scenes}) > 5
    together, scores = scored(*scenes, size=len(scenes))
    alone, each = scored(*scenes, size=1)
    assert repr(together.figures()) == repr(alone.figures())
    assert repr(scores) == repr(each)
    batch, predictions = batch_of(scenes)
    batch.instances = [ids.clone() for ids in batch.instances]
    for ids, (height, width), categories in zip(batch.instances, batch.sizes, batch.categories, strict=True):
        if ids.shape[2] and len(categories):
            ids[height:], ids[:, width:] = 1, 1
    spoilt = InstanceMetrics(NAMES, 0.5, 100)
    spoilt.update(batch, predictions)
    assert repr(spoilt.figures()) == repr(together.figures())


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_equal_however_ranks_share_the_images(seed: int) -> None:
    scenes = random_scenes(seed, number=10)
    whole, _ = scored(*scenes)
    rng = np.random.default_rng(seed)
    for ranks in (1, 2, 3):
        parts = [scored(*[scenes[i] for i in members])[0] for members in np.array_split(rng.permutation(len(scenes)), ranks)]
        states = [part.state() for part in parts]
        assert all(s.dtype == torch.uint8 and s.ndim == 1 for s in states)
        merged = InstanceMetrics(NAMES, 0.5, 100)
        merged.update(*batch_of([Scene("before", (10, 12)).add(small())]))
        merged.load_states(states)
        assert repr(merged.figures()) == repr(whole.figures()), "equal to the last bit, NaN at the same places"
        assert repr(merged.per_class()) == repr(whole.per_class())
        assert repr(merged.tables()) == repr(whole.tables())
        again = InstanceMetrics(NAMES, 0.5, 100)
        again.load_states([merged.state()])
        assert repr(again.figures()) == repr(whole.figures())


def test_the_order_of_images_would_change_tied_scores() -> None:
    """What the order by image id is for: equal scores, one right and one wrong, in two images."""
    right = Scene("b", (10, 12)).add(small()).predict(small(), score=0.5)
    wrong = Scene("a", (10, 12)).add(small()).predict(small(5, 5), score=0.5)
    first, second = scored(right, wrong)[0], scored(wrong, right)[0]
    assert first.figures()["mask_ap"] == second.figures()["mask_ap"] == pytest.approx(51 / 101 / 2)
    right.image_id, wrong.image_id = "a", "b"
    assert scored(wrong, right)[0].figures()["mask_ap"] == pytest.approx(51 / 101)


def test_what_is_seen_after_the_figures_changes_them() -> None:
    one, two = Scene("a", (10, 12)).add(small()).predict(small()), Scene("b", (10, 12)).add(small())
    metrics, _ = scored(one)
    assert metrics.figures()["mask_ap"] == 1
    metrics.update(*batch_of([two]))
    assert metrics.figures()["mask_ap"] == pytest.approx(51 / 101)
    metrics.load_states([scored(one)[0].state()])
    assert metrics.figures()["mask_ap"] == 1


def segments(rng: np.random.Generator, like: list[np.ndarray] | None = None) -> list[np.ndarray]:
    """Masks (20, 24) that do not overlap: new ones, or those of `like` with their pixels at random changed."""
    cells = np.kron(rng.permutation(30).reshape(5, 6), np.ones((4, 4), int))
    if like is not None:
        cells = np.where(rng.random(cells.shape) < 0.25, cells, 100)
        for number, mask in enumerate(like):
            cells[mask & (cells == 100)] = 200 + number
    return [cells == value for value in np.unique(cells) if value != 100 and (value >= 200 or value % 3)]


@pytest.mark.parametrize("seed", range(4))
def test_panoptic_quality_agrees_with_torchmetrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = PanopticQuality(things={1, 2, 3}, stuffs={0}, return_sq_and_rq=True, return_per_class=True)
    scenes = []
    for index in range(4):
        scene = Scene(f"image{index}", (20, 24))
        for mask in segments(rng):
            scene.add(mask, int(rng.integers(1, 3)))
        for mask in segments(rng, scene.truth):
            touched = [c for m, c in zip(scene.truth, scene.categories, strict=True) if (m & mask).sum() > mask.sum() / 2]
            scene.predict(mask, touched[0] if touched and rng.random() < 0.9 else int(rng.integers(1, 3)))
        scenes.append(scene)
        reference.update(panoptic(scene.predicted, scene.predicted_categories), panoptic(scene.truth, scene.categories))
    expected = reference.compute().numpy()[:3]  # rows pq, sq, rq of the things
    assert 0.2 < expected[0, 0] < 0.8
    metrics, scores = scored(*scenes)
    rows = metrics.per_class()
    for place, figure in enumerate(("pq", "sq", "rq")):
        assert [rows["cell"][figure], rows["nucleus"][figure]] == pytest.approx(expected[:2, place], abs=1e-6)
        assert math.isnan(rows["debris"][figure])
        assert metrics.figures()[figure] == pytest.approx(expected[:2, place].mean(), abs=1e-6)
    assert len({s.score for s in scores}) == len(scores)


def panoptic(masks: Sequence[np.ndarray], categories: Sequence[int]) -> torch.Tensor:
    """(1, H, W, 2): the category and the number of each pixel's mask; 0, 0 where there is none."""
    table = np.zeros((1, 20, 24, 2), np.int64)
    for number, (mask, category) in enumerate(zip(masks, categories, strict=True), start=1):
        table[0, mask] = category, number
    return torch.from_numpy(table)


@pytest.mark.parametrize("seed", range(4))
def test_matching_and_aji_of_a_data_set_agree_with_loops(seed: int) -> None:
    """Every true and predicted instance on its own, over images and classes, without crowds."""
    scenes = random_scenes(seed, crowds=False)
    metrics, scores = scored(*scenes, threshold=0.35)
    tp = dict.fromkeys(range(9), 0)
    inner = outer = num_truth = num_predicted = 0
    for scene, score in zip(scenes, scores, strict=True):
        image = [0, 0]
        for category in (1, 2, 3):
            truth = [m for m, c in zip(scene.truth, scene.categories, strict=True) if c == category]
            found = zip(scene.predicted, scene.predicted_categories, scene.scores, strict=True)
            predicted = [m for m, c, s in found if c == category and s >= 0.35]
            num_truth, num_predicted = num_truth + len(truth), num_predicted + len(predicted)
            areas = [[((t & p).sum(), (t | p).sum()) for p in predicted] for t in truth]
            for k in tp:
                tp[k] += most_pairs([[100 * i >= (50 + 5 * k) * u for i, u in row] for row in areas])
            used = set()
            for row, mask in zip(areas, truth, strict=True):
                best = max(range(len(row)), key=lambda j, row=row: row[j][0] / row[j][1], default=None)
                touched = best is not None and row[best][0]
                image[0] += row[best][0] if touched else 0
                image[1] += row[best][1] if touched else mask.sum()
                used |= {best} if touched else set()
            image[1] += sum(p.sum() for j, p in enumerate(predicted) if j not in used)
        assert score.figures["aji"] == (pytest.approx(image[0] / image[1]) if image[1] else pytest.approx(math.nan, nan_ok=True))
        inner, outer = inner + image[0], outer + image[1]
    rows = metrics.tables()["matching"]
    assert [(r["tp"], r["fp"], r["fn"]) for r in rows] == [(tp[k], num_predicted - tp[k], num_truth - tp[k]) for k in tp]
    assert tp[0] >= tp[8] > 0
    assert metrics.figures()["aji"] == pytest.approx(inner / outer)
    assert sum(s.figures["tp_50"] for s in scores) == tp[0]


def most_pairs(eligible: list[list[bool]]) -> int:
    """The size of the largest one-to-one pairing, by trying all."""
    if not eligible or not eligible[0]:
        return 0
    table = np.array(eligible)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    wide = table if table.shape[0] <= table.shape[1] else table.T
    return max(int(wide[np.arange(len(wide)), list(p)].sum()) for p in itertools.permutations(range(wide.shape[1]), len(wide)))


def test_classes_may_come_without_a_background() -> None:
    scene = Scene("a", (10, 12)).add(small(), category=0).predict(small(), category=0)
    metrics, _ = scored(scene, names=["cell", "background"])
    assert metrics.per_class()["cell"]["pq"] == 1
    assert list(metrics.per_class()) == ["cell", "background"], "only a class list that starts with it has one"


def test_categories_outside_the_class_list_are_refused() -> None:
    for scene in (Scene("a", (10, 12)).add(small(), category=4), Scene("a", (10, 12)).predict(small(), category=4)):
        with pytest.raises(ValueError, match=r"a: an instance is of category 4, expected one of 1\.\.3"):
            scored(scene)
    with pytest.raises(ValueError, match="a: an instance is of category 0"):
        scored(Scene("a", (10, 12)).predict(small(), category=0))
    with pytest.raises(ValueError, match="class_names must name a class"):
        InstanceMetrics(["background"], 0.5, 100)


def test_an_image_that_comes_twice_is_refused() -> None:
    metrics, _ = scored(Scene("a", (10, 12)))
    with pytest.raises(ValueError, match="a: the image was counted before"):
        metrics.update(*batch_of([Scene("a", (10, 12))]))
    with pytest.raises(ValueError, match="a: the image was counted before"):
        metrics.load_states([metrics.state(), metrics.state()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros(2, np.float32)}, "of one length, got {'scores': 2, 'categories': 1"),
        ({"scores": np.full(1, np.nan, np.float32)}, "not a finite number"),
        ({"boxes": np.full((1, 4), np.inf, np.float32)}, "not a finite number"),
        ({"boxes": np.zeros((1, 5), np.float32)}, r"boxes must be \(N, 4\), got \(1, 5\)"),
        ({"boxes": np.array([[5, 5, 2, 2]], np.float32)}, r"boxes must be x1, y1, x2, y2, got \[5.0, 5.0, 2.0, 2.0\]"),
        ({"masks": [{"size": [12, 10], "counts": "h3"}]}, r"mask 0 must be RLE of size \[10, 12\]"),
        ({"masks": [{"size": [10, 12], "counts": b"h3"}]}, "with bytes"),
    ],
)
def test_a_prediction_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    batch, (prediction,) = batch_of([Scene("a", (10, 12)).add(small()).predict(small())])
    columns = {name: getattr(prediction, name) for name in ("scores", "categories", "boxes", "masks")}
    with pytest.raises(ValueError, match=f"a: .*{message}"):
        InstanceMetrics(NAMES, 0.5, 100).update(batch, [Prediction(**(columns | change))])


def test_as_many_predictions_as_images_are_wanted() -> None:
    with pytest.raises(ValueError, match="argument"):
        InstanceMetrics(NAMES, 0.5, 100).update(batch_of([Scene("a", (10, 12))])[0], [])


def test_no_mask_is_kept_dense() -> None:
    """Of 40 masks of 600 x 600 pixels, fewer bytes remain than a ninth of one; nor are the model's own arrays kept alive."""
    metrics = InstanceMetrics(NAMES, 0.5, 100)
    for index in range(4):
        scene = Scene(f"image{index}", (600, 600))
        for place in range(5):
            mask = box(600, 600, 100 * place, 50, 100 * place + 90, 500)
            scene.add(mask).predict(mask)
        batch, predictions = batch_of([scene])
        metrics.update(batch, predictions)
        assert not any(np.shares_memory(a, b) for a in arrays_of(metrics) for b in (predictions[0].scores, predictions[0].boxes))
    assert max(a.nbytes for a in arrays_of(metrics)) < 200
    assert len(metrics.state()) < 40_000
    assert "counts" not in metrics.state().numpy().tobytes().decode(), "the texts of run lengths alone"
    assert set(json.loads(metrics.state().numpy().tobytes())) == {"images", "tallies"}


def arrays_of(metrics: InstanceMetrics) -> list[np.ndarray]:
    """All arrays that the metrics hold, at any depth."""
    found, todo, seen = [], [metrics], set()
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            found.append(thing)
        assert not isinstance(thing, torch.Tensor)
        todo += [
            r for r in gc.get_referents(thing) if isinstance(r, dict | list | tuple | np.ndarray) or type(r).__module__.startswith("seg")
        ]
    return found
