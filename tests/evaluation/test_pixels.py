"""What is gathered over a split equals the pure functions' figures, for all images and for any draw of them."""

import numpy as np
import pytest
from outlines import IGNORE, regions

from seg.data.sample import Prediction
from seg.evaluation.boundary import boundary_figures, count_bands, count_contours, surface_distances
from seg.evaluation.pixels import PixelMetrics
from seg.evaluation.settings import BoundarySettings
from seg.metrics.calibration import count_confidence, expected_calibration_error, maximum_calibration_error, reliability_rows

NAMES = list("abcdef")
SIZES = [(40, 50), (33, 61), (40, 50), (57, 29)]


def images(ignored: float = 0.1) -> list[tuple[np.ndarray, Prediction]]:
    rng = np.random.default_rng(0)
    found = []
    for seed, size in enumerate(SIZES):
        truth, predicted = regions(6 if seed % 2 else 4, seed, size, ignored)
        found.append((truth, Prediction(semantic=predicted, confidence=rng.integers(20000, 65536, size=size).astype(np.uint16))))
    return found


def metrics(surface: bool = True) -> PixelMetrics:
    return PixelMetrics(NAMES, BoundarySettings(width=0.02, tolerance=2), surface, 15)


def gathered(pairs: list[tuple[np.ndarray, Prediction]]) -> PixelMetrics:
    found = metrics()
    for truth, prediction in pairs:
        found.count(truth, prediction)
    return found


def test_figures_are_those_of_summed_counts_and_of_mean_distances() -> None:
    pairs = images()
    bands = sum(count_bands(t, p.semantic, 6, 0.02) for t, p in pairs)
    contours = sum(count_contours(t, p.semantic, 6, 2) for t, p in pairs)
    bins = sum(count_confidence(t, p.semantic, p.confidence, 6, 15) for t, p in pairs)
    each = [surface_distances(t, p.semantic, 6) for t, p in pairs]
    hd95, assd = (np.array([[getattr(d, name)[k] for d in each] for k in range(6)]) for name in ("hd95", "assd"))
    assert np.isnan(hd95).any(axis=1).sum() >= 3, "some classes are undefined in some images"

    def mean(values: np.ndarray) -> float:
        defined = [v for v in values if v == v]
        return sum(defined) / len(defined) if defined else np.nan

    found = gathered(pairs)
    assert found.figures() == pytest.approx(
        {
            "mean_boundary_iou": mean(boundary_figures(bands, contours)["boundary_iou"]),
            "mean_boundary_f": mean(boundary_figures(bands, contours)["boundary_f"]),
            "mean_hd95_px": mean([mean(row) for row in hd95]),
            "mean_assd_px": mean([mean(row) for row in assd]),
            "expected_calibration_error": expected_calibration_error(bins),
            "maximum_calibration_error": maximum_calibration_error(bins),
        }
    )
    for k, (name, row) in enumerate(found.per_class().items()):
        assert name == NAMES[k]
        assert row == pytest.approx(
            {
                "boundary_iou": boundary_figures(bands, contours)["boundary_iou"][k],
                "boundary_f": boundary_figures(bands, contours)["boundary_f"][k],
                "boundary_precision": contours[k, 0] / contours[k, 1] if contours[k, 1] else np.nan,
                "boundary_recall": contours[k, 2] / contours[k, 3] if contours[k, 3] else np.nan,
                "hd95_px": mean(hd95[k]),
                "assd_px": mean(assd[k]),
            },
            nan_ok=True,
        )
    tables = found.tables()
    np.testing.assert_equal(tables["reliability"], reliability_rows(bins))
    assert [[r["band_intersection"], r["band_union"]] for r in tables["boundary"]] == bands.tolist()
    names = ("contour_matched_predicted", "contour_predicted", "contour_matched_true", "contour_true")
    assert [[r[n] for n in names] for r in tables["boundary"]] == contours.tolist()
    assert [r["images"] for r in tables["surface"]] == (~np.isnan(hd95)).sum(axis=1).tolist()
    assert [r["images_undefined"] for r in tables["surface"]] == np.sum([d.undefined for d in each], axis=0).tolist()
    assert sum(r["images_undefined"] for r in tables["surface"]) > 0


def test_an_images_row_holds_its_own_figures() -> None:
    (truth, prediction), *_ = images()
    row = metrics().count(truth, prediction)
    alone = gathered([(truth, prediction)])
    assert {k: row[k] for k in alone.figures()} == pytest.approx(alone.figures(), nan_ok=True)
    for name, figures in alone.per_class().items():
        for figure in ("boundary_iou", "boundary_f", "hd95_px", "assd_px"):
            assert row[f"{figure}_{name}"] == pytest.approx(figures[figure], nan_ok=True)
    assert len(row) == 6 + 4 * 6


def test_the_order_of_images_changes_no_count() -> None:
    forth, back = gathered(images()), gathered(images()[::-1])
    np.testing.assert_equal(forth.tables(), back.tables())
    for figure in ("mean_boundary_iou", "mean_boundary_f", "expected_calibration_error", "maximum_calibration_error"):
        assert forth.figures()[figure] == back.figures()[figure]


def test_a_draw_of_images_is_as_if_they_came_so_often() -> None:
    pairs, times = images(), [2, 0, 3, 1]
    drawn = gathered([pair for pair, often in zip(pairs, times, strict=True) for _ in range(often)])
    found = gathered(pairs)
    assert found.figures(np.array(times)) == pytest.approx(drawn.figures())
    before = found.figures()
    found.count(*pairs[1])
    assert found.figures() != before
    with pytest.raises(ValueError, match=r"times must be \(5,\), a number an image, got \(4,\)"):
        found.figures(np.array(times))


def test_what_is_predicted_in_ignored_pixels_or_in_padding_changes_nothing() -> None:
    for truth, prediction in images(ignored=0.3):
        ignored = truth == IGNORE
        semantic, confidence = (
            np.pad(values, ((0, 9), (0, 5)), constant_values=200) for values in (prediction.semantic, prediction.confidence)
        )
        height, width = truth.shape
        semantic[:height, :width][ignored], confidence[:height, :width][ignored] = 99, 12345
        other = metrics().count(truth, Prediction(semantic=semantic, confidence=confidence))
        assert other == pytest.approx(metrics().count(truth, prediction), nan_ok=True, abs=0, rel=0)


@pytest.mark.filterwarnings("error")
def test_all_ignored_and_absent_classes_are_nan() -> None:
    found = metrics()
    ignored = np.full((8, 8), IGNORE, np.uint8)
    nothing = Prediction(semantic=np.zeros((8, 8), np.uint8), confidence=np.zeros((8, 8), np.uint16))
    assert all(np.isnan(v) for v in found.count(ignored, nothing).values())
    assert all(np.isnan(v) for v in found.figures().values())
    found.count(np.zeros((8, 8), np.uint8), nothing)
    assert found.per_class()["a"]["boundary_iou"] == 1
    assert all(np.isnan(v) for v in found.per_class()["b"].values())
    assert found.tables()["surface"][:2] == [
        {"class": "a", "images": 1, "images_undefined": 0},
        {"class": "b", "images": 0, "images_undefined": 0},
    ]


def test_each_part_can_be_left_out() -> None:
    truth, prediction = images()[0]
    prediction.confidence = None
    found = PixelMetrics(NAMES, None, True, None)
    found.count(truth, prediction, (0.5, 0.5))
    assert list(found.figures()) == ["mean_hd95_um", "mean_assd_um"]
    assert list(found.tables()) == ["surface"]
    in_pixels = PixelMetrics(NAMES, None, True, None)
    in_pixels.count(truth, prediction)
    assert found.figures()["mean_hd95_um"] == pytest.approx(in_pixels.figures()["mean_hd95_px"] / 2)
    nothing = PixelMetrics(NAMES, None, False, None)
    assert nothing.count(truth, prediction) == nothing.figures() == nothing.tables() == {}
    assert nothing.per_class() == {name: {} for name in NAMES}


def test_what_does_not_fit_is_refused() -> None:
    truth, prediction = images()[0]
    with pytest.raises(ValueError, match="no class map"):
        metrics().count(truth, Prediction())
    with pytest.raises(ValueError, match=r"no confidence, which calibration needs; set evaluate\.calibration_bins=null"):
        metrics().count(truth, Prediction(semantic=prediction.semantic))
    with pytest.raises(ValueError, match="no image has been counted"):
        metrics().figures()
    found = metrics()
    found.count(truth, prediction)
    with pytest.raises(ValueError, match="spacing must be given for all images or for none"):
        found.count(truth, prediction, (1.0, 1.0))
