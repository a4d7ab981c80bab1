"""Semantic figures against scikit-learn, and by hand where a class is absent."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from seg.data.sample import Prediction, Sample, no_instances
from seg.loading.batch import collate
from seg.metrics import semantic as ours
from seg.metrics.semantic import SemanticMetrics, confusion_matrix, totals

IGNORE = 255


def random_maps(num_classes: int, seed: int, size: tuple[int, int] = (61, 83)) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction, right in about half of the pixels, a tenth ignored. With five classes or more, one is absent,
    one is only in the truth, and one only predicted."""
    rng = np.random.default_rng([num_classes, seed])
    truth = rng.integers(num_classes, size=size).astype(np.uint8)
    predicted = np.where(rng.random(size) < 0.5, truth, rng.integers(num_classes, size=size)).astype(np.uint8)
    if num_classes >= 5:
        absent, only_true, only_predicted = rng.permutation(num_classes)[:3]
        spare = next(k for k in range(num_classes) if k not in (absent, only_true, only_predicted))
        truth[(truth == absent) | (truth == only_predicted)] = spare
        predicted[(predicted == absent) | (predicted == only_true)] = spare
    truth[rng.random(size) < 0.1] = IGNORE
    return truth, predicted


@pytest.fixture(params=[(2, 0), (5, 1), (5, 2), (20, 3)], ids=lambda p: f"{p[0]}-classes-{p[1]}")
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, int]:
    num_classes, seed = request.param
    return *random_maps(num_classes, seed), num_classes


def counted(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return truth[truth != IGNORE], predicted[truth != IGNORE]


def test_confusion_matrix_agrees_with_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, predicted, num_classes = case
    matrix = confusion_matrix(truth, predicted, num_classes)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(*counted(truth, predicted), labels=range(num_classes)))


@pytest.mark.parametrize(
    ("figure", "reference"),
    [("iou", sk.jaccard_score), ("dice", sk.f1_score), ("precision", sk.precision_score), ("recall", sk.recall_score)],
)
def test_figures_of_a_class_agree_with_scikit_learn(case: tuple[np.ndarray, np.ndarray, int], figure: str, reference) -> None:
    truth, predicted, num_classes = case
    y, p = counted(truth, predicted)
    found = getattr(ours, figure)(totals(confusion_matrix(truth, predicted, num_classes)))
    expected = reference(y, p, labels=range(num_classes), average=None, zero_division=0.0)
    in_truth, in_prediction = (np.isin(np.arange(num_classes), np.unique(m)) for m in (y, p))
    defined = {"precision": in_prediction, "recall": in_truth}.get(figure, in_truth | in_prediction)
    np.testing.assert_array_equal(np.isnan(found), ~defined)
    np.testing.assert_allclose(found[defined], expected[defined], atol=1e-6)


def test_figures_over_all_classes_agree_with_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, predicted, num_classes = case
    matrix = confusion_matrix(truth, predicted, num_classes)
    y, p = counted(truth, predicted)
    present = np.union1d(y, p)
    assert ours.pixel_accuracy(totals(matrix)) == pytest.approx(sk.accuracy_score(y, p), abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn remarks on classes that are only predicted, and leaves them out as we do
        assert ours.FIGURES["mean_accuracy"](totals(matrix)) == pytest.approx(sk.balanced_accuracy_score(y, p), abs=1e-6)
    assert ours.mean_iou(totals(matrix)) == pytest.approx(sk.jaccard_score(y, p, labels=present, average="macro"), abs=1e-6)
    assert ours.frequency_weighted_iou(totals(matrix)) == pytest.approx(
        sk.jaccard_score(y, p, average="weighted", zero_division=0), abs=1e-6
    )


@pytest.mark.filterwarnings("error")
def test_nothing_counted_is_nan_everywhere() -> None:
    metrics = SemanticMetrics(["a", "b"])
    ignored = np.full((4, 4), IGNORE, np.uint8)
    (score,) = metrics.update(batch_of(ignored), [Prediction(semantic=np.zeros((4, 4), np.uint8))])
    assert not metrics.matrix.any()
    assert math.isnan(score.score)
    assert all(math.isnan(v) for v in metrics.figures().values())
    assert all(math.isnan(v) for figures in metrics.per_class().values() for v in figures.values())


@pytest.mark.filterwarnings("error")
def test_absent_classes_are_left_out_of_means() -> None:
    matrix = confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), 3)
    np.testing.assert_array_equal(ours.iou(totals(matrix)), [1, np.nan, np.nan])
    assert (ours.mean_iou(totals(matrix)), ours.FIGURES["mean_accuracy"](totals(matrix)), ours.frequency_weighted_iou(totals(matrix))) == (
        1,
        1,
        1,
    )


@pytest.mark.filterwarnings("error")
def test_a_class_that_is_only_predicted_counts_with_zero() -> None:
    matrix = confusion_matrix(np.zeros((2, 2), np.uint8), np.array([[0, 0], [0, 1]], np.uint8), 3)
    np.testing.assert_array_equal(ours.iou(totals(matrix)), [0.75, 0, np.nan])
    np.testing.assert_array_equal(ours.dice(totals(matrix)), [6 / 7, 0, np.nan])
    np.testing.assert_array_equal(ours.precision(totals(matrix)), [1, 0, np.nan])
    np.testing.assert_array_equal(ours.recall(totals(matrix)), [0.75, np.nan, np.nan])
    assert ours.mean_iou(totals(matrix)) == 0.375
    assert ours.FIGURES["mean_accuracy"](totals(matrix)) == 0.75


@pytest.mark.parametrize(("where", "value"), [("truth", 3), ("truth", 254), ("prediction", 3), ("prediction", 255)])
def test_a_class_index_out_of_range_is_refused(where: str, value: int) -> None:
    maps = {"truth": np.zeros((3, 3), np.uint8), "prediction": np.zeros((3, 3), np.uint8)}
    maps[where][1, 1] = value
    with pytest.raises(ValueError, match=r"outside 0\.\.2"):
        confusion_matrix(maps["truth"], maps["prediction"], 3)


def test_other_shapes_and_types_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)
    with pytest.raises(ValueError, match="uint8"):
        confusion_matrix(np.full((2, 2), 256), np.zeros((2, 2), np.uint8), 2)


def test_all_255_classes_and_views_of_other_strides_are_counted() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(256, size=(50, 60)).astype(np.uint8), rng.integers(255, size=(60, 50)).astype(np.uint8).T
    expected = sk.confusion_matrix(*counted(truth, predicted), labels=range(255))
    np.testing.assert_array_equal(confusion_matrix(truth, predicted, 255), expected)
    np.testing.assert_array_equal(
        confusion_matrix(truth[::2, ::-3], predicted[::2, ::-3], 255),
        confusion_matrix(truth[::2, ::-3].copy(), predicted[::2, ::-3].copy(), 255),
    )


def batch_of(*truths: np.ndarray, first: int = 0):
    """The images `image<first>`, `image<first + 1>`, ..."""
    names = [f"image{first + i}" for i in range(len(truths))]
    return collate([Sample(n, np.zeros((*t.shape, 3), np.uint8), t, *no_instances(*t.shape)) for n, t in zip(names, truths, strict=True)])


def padded(predicted: np.ndarray, like: torch.Tensor) -> Prediction:
    """A prediction at the size of its padded batch, with nonsense in the padding."""
    full = np.full(like.shape, 200, np.uint8)
    full[: predicted.shape[0], : predicted.shape[1]] = predicted
    return Prediction(semantic=full)


def test_streaming_equals_one_go_and_states_add_up() -> None:
    sizes = [(20, 30), (25, 18), (31, 31), (16, 40), (20, 30)]
    maps = [random_maps(6, seed, size) for seed, size in enumerate(sizes)]
    whole, halves = SemanticMetrics(list("abcdef")), [SemanticMetrics(list("abcdef")) for _ in range(2)]
    for number, members in enumerate([maps[:2], maps[2:4], maps[4:]]):
        batch = batch_of(*[t for t, _ in members], first=2 * number)
        predictions = [padded(p, batch.semantic[0]) for _, p in members]
        whole.update(batch, predictions)
        halves[number % 2].update(batch, predictions)
    pixels = [np.concatenate([m[i].ravel() for m in maps]) for i in (0, 1)]
    np.testing.assert_array_equal(whole.matrix, sk.confusion_matrix(*counted(*pixels), labels=range(6)))
    together = SemanticMetrics(list("abcdef"))
    together.load_states([half.state() for half in halves])
    assert torch.equal(together.state(), whole.state())
    assert together.state().dtype == torch.int64
    assert together.figures() == whole.figures()
    assert together.tables() == whole.tables()


def test_figures_are_those_of_the_whole_not_a_mean_over_images() -> None:
    metrics = SemanticMetrics(["a", "b"])
    right, wrong = np.zeros((1, 8), np.uint8), np.array([[1, 1]], np.uint8)
    scores = metrics.update(batch_of(right), [Prediction(semantic=right)])
    scores += metrics.update(batch_of(wrong, first=1), [Prediction(semantic=np.zeros((1, 2), np.uint8))])
    assert [s.score for s in scores] == [1.0, 0.0]
    assert metrics.figures()["miou"] == pytest.approx((8 / 10 + 0) / 2)
    assert metrics.figures()["mean_dice"] == pytest.approx((16 / 18 + 0) / 2)


def test_scores_of_an_image_and_of_a_class_by_hand() -> None:
    truth, predicted = np.array([[0, 0], [1, 1]], np.uint8), np.array([[0, 1], [1, 1]], np.uint8)
    metrics = SemanticMetrics(["a", "b", "c"])
    (score,) = metrics.update(batch_of(truth), [Prediction(semantic=predicted)])
    assert score.image_id == "image0"
    assert score.score == pytest.approx((1 / 2 + 2 / 3) / 2)
    nan = math.nan
    expected = {"miou": 7 / 12, "pixel_accuracy": 3 / 4, "iou_a": 1 / 2, "iou_b": 2 / 3, "iou_c": nan}
    assert score.figures == pytest.approx(expected, nan_ok=True)
    assert metrics.per_class()["b"] == pytest.approx({"iou": 2 / 3, "dice": 4 / 5, "precision": 2 / 3, "recall": 1})
    rows = metrics.tables()["confusion"]
    assert [r["pixels"] for r in rows] == [1, 1, 0, 0, 2, 0, 0, 0, 0]
    assert rows[1] == {"actual": "a", "predicted": "b", "pixels": 1, "share": 0.5}
    assert all(math.isnan(r["share"]) for r in rows if r["actual"] == "c")


def test_a_prediction_without_class_map_is_refused() -> None:
    with pytest.raises(ValueError, match="image0: the prediction has no class map"):
        SemanticMetrics(["a", "b"]).update(batch_of(np.zeros((2, 2), np.uint8)), [Prediction()])


def test_an_image_that_comes_twice_is_refused() -> None:
    metrics, truth = SemanticMetrics(["a", "b"]), np.zeros((2, 2), np.uint8)
    metrics.update(batch_of(truth), [Prediction(semantic=truth)])
    with pytest.raises(ValueError, match=r"^image0: the image was counted before"):
        metrics.update(batch_of(truth), [Prediction(semantic=truth)])


def test_resampled_figures_are_those_of_data_sets_that_hold_images_so_often() -> None:
    """Against data sets that are made so, images of a name of their own for each time."""
    maps = [random_maps(5, seed, (9, 12)) for seed in range(4)]
    maps[3][0][:] = IGNORE
    metrics = SemanticMetrics(list("abcdefg"))
    metrics.update(batch_of(*[t for t, _ in maps]), [Prediction(semantic=p) for _, p in maps])
    weights = np.array([[1, 1, 1, 1], [0, 3, 1, 0], [2, 0, 0, 5], [0, 0, 0, 1]], float)
    found = metrics.resampled([f"image{i}" for i in range(4)], weights)
    for row, times in enumerate(weights.astype(int)):
        again = SemanticMetrics(list("abcdefg"))
        drawn = [m for m, count in zip(maps, times, strict=True) for _ in range(count)]
        again.update(batch_of(*[t for t, _ in drawn]), [Prediction(semantic=p) for _, p in drawn])
        assert {name: values[row] for name, values in found.items()} == pytest.approx(again.figures(), nan_ok=True, rel=1e-15)
    assert {name: values[0] for name, values in found.items()} == metrics.figures()
    turned = metrics.resampled(["image2", "image1"], np.array([[1.0, 3.0]]))
    assert {n: v[0] for n, v in turned.items()} == {n: v[1] for n, v in found.items()}
