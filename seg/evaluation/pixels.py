"""What class maps tell beyond the confusion matrix, gathered over a split: boundaries, distances of surfaces, calibration."""

from collections.abc import Mapping, Sequence
from math import nan
from types import MappingProxyType
from typing import Any

import numpy as np

from seg.core.errors import ConfigError
from seg.data.sample import Prediction
from seg.evaluation.boundary import boundary_figures, count_bands, count_contours, rand_error, surface_distances
from seg.evaluation.settings import BoundarySettings
from seg.loading.batch import Batch
from seg.metrics.calibration import count_confidence, expected_calibration_error, maximum_calibration_error, reliability_rows
from seg.metrics.semantic import mean_of_known, ratio

_PARTS = {"boundary_precision", "boundary_recall"}  # of a class alone: an image's figures and the headline hold what they make, boundary F


class PixelMetrics:
    """A `seg.evaluation.detail.Detail` of class maps: boundary IoU and F (None: without), surface distances (False: without), calibration
    in `bins` (None: without), and the Rand error of regions, with the index of the class that `separates` them (None: without).
    spacings: a pixel's height and width in micrometres, of all images or of none.

    What each image counts is kept, a few numbers a class, so that figures can be had of any selection of the images. Figures
    called mean_... are means over the classes in which they are defined. Boundary and calibration figures come from counts summed
    over images; a class's hd95 and assd, and the Rand error, are means over the images in which they are defined."""

    def __init__(
        self,
        class_names: Sequence[str],
        boundary: BoundarySettings | None,
        surface: bool,
        bins: int | None,
        separates: int | None = None,
        spacings: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    ) -> None:
        self.class_names, self.boundary, self.surface, self.bins = list(class_names), boundary, surface, bins
        self.separates, self.spacings = separates, spacings
        self.unit: str | None = None
        self._order: dict[str, int] = {}
        self._kept: list[dict[str, np.ndarray]] = []
        self._stacked: dict[str, np.ndarray] = {}

    def update(self, batch: Batch, predictions: Sequence[Prediction]) -> list[dict[str, float]]:
        rows = []
        for truth, (height, width), image_id, prediction in zip(batch.semantic, batch.sizes, batch.image_ids, predictions, strict=True):
            self._order[image_id] = len(self._order)
            rows.append(self.count(truth[:height, :width].cpu().numpy(), prediction, self.spacings.get(image_id)))
        return rows

    def count(self, truth: np.ndarray, prediction: Prediction, spacing: tuple[float, float] | None = None) -> dict[str, float]:
        """Count an image; returns its own figures, those of each class as <figure>_<class>.

        truth: (H, W) uint8, 255 = ignored. prediction: at least of that size (more where its batch was padded at the right and
        bottom). spacing: a pixel's height and width in micrometres, for all images or for none."""
        height, width = truth.shape
        if prediction.semantic is None:
            raise ValueError("the prediction has no class map")
        predicted, num_classes = prediction.semantic[:height, :width], len(self.class_names)
        kept: dict[str, np.ndarray] = {}
        if self.boundary:
            kept["bands"] = count_bands(truth, predicted, num_classes, self.boundary.width)
            kept["contours"] = count_contours(truth, predicted, num_classes, self.boundary.tolerance)
        if self.surface:
            unit = "um" if spacing else "px"
            if self.unit not in (None, unit):
                raise ValueError("spacing must be given for all images or for none: distances in pixels and in micrometres have no mean")
            self.unit = unit
            distances = surface_distances(truth, predicted, num_classes, spacing)
            kept |= {"hd95": distances.hd95, "assd": distances.assd, "undefined": distances.undefined.astype(np.int64)}
        if self.bins:
            if prediction.confidence is None:
                what = "evaluate.calibration_bins: this model gives no confidence, which calibration needs"
                raise ConfigError(f"{what}; set evaluate.calibration_bins=null")
            kept["bins"] = count_confidence(truth, predicted, prediction.confidence[:height, :width], num_classes, self.bins)
        if self.separates is not None:
            kept["rand"] = np.array(rand_error(truth, predicted, self.separates))
        self._kept.append(kept)
        self._stacked.clear()
        return self._row(kept)

    def score(self, tiles: Sequence[str]) -> dict[str, float]:
        """What `update` gives of an image, of one that came in tiles."""
        times = np.zeros(len(self._kept), np.int64)
        times[[self._order[tile] for tile in tiles]] = 1
        return self._row(self._total(times))

    def _row(self, kept: Mapping[str, np.ndarray]) -> dict[str, float]:
        shown = {figure: values for figure, values in self._of_classes(kept).items() if figure not in _PARTS}
        own = {f"{figure}_{name}": float(v) for figure, each in shown.items() for name, v in zip(self.class_names, each, strict=True)}
        return self._figures(kept) | own

    def figures(self, times: np.ndarray | None = None) -> dict[str, float]:
        """The headline figures. times: (N,) whole numbers, how often each image counts, in the order in which they came (once if not
        given): what a bootstrap over images draws."""
        return self._figures(self._total(times))

    def resampled(self, image_ids: Sequence[str], weights: np.ndarray) -> dict[str, np.ndarray]:
        times = np.zeros((len(weights), len(self._order)), np.int64)
        times[:, [self._order[image_id] for image_id in image_ids]] = weights
        each = [self.figures(row) for row in times]
        return {name: np.array([figures.get(name, nan) for figures in each]) for name in self.figures()}

    def per_class(self) -> dict[str, dict[str, float]]:
        columns = self._of_classes(self._total(None))
        return {name: {figure: float(v[i]) for figure, v in columns.items()} for i, name in enumerate(self.class_names)}

    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        total, tables = self._total(None), dict[str, list[Mapping[str, Any]]]()
        if self.boundary:
            columns = dict(zip(("band_intersection", "band_union"), total["bands"].T, strict=True))
            names = ("contour_matched_predicted", "contour_predicted", "contour_matched_true", "contour_true")
            tables["boundary"] = self._rows(columns | dict(zip(names, total["contours"].T, strict=True)))
        if self.surface:
            tables["surface"] = self._rows({"images": total["images"], "images_undefined": total["undefined"]})
        if self.bins:
            tables["reliability"] = list[Mapping[str, Any]](reliability_rows(total["bins"]))
        return tables

    def _rows(self, columns: Mapping[str, np.ndarray]) -> list[Mapping[str, Any]]:
        return [{"class": name} | {c: int(v[i]) for c, v in columns.items()} for i, name in enumerate(self.class_names)]

    def _total(self, times: np.ndarray | None) -> dict[str, np.ndarray]:
        """What one image keeps, of all: sums of counts, and means over images of distances with the number of these images."""
        if not self._kept:
            raise ValueError("no image has been counted yet")
        times = np.ones(len(self._kept), np.int64) if times is None else np.asarray(times, np.int64)
        if times.shape != (len(self._kept),):
            raise ValueError(f"times must be ({len(self._kept)},), a number an image, got {times.shape}")
        stacked = self._stacked = self._stacked or {name: np.stack([kept[name] for kept in self._kept]) for name in self._kept[0]}
        total = {name: np.tensordot(times, values, 1) for name, values in stacked.items() if values.dtype.kind == "i"}
        for name in stacked.keys() - total.keys():
            defined = ~np.isnan(stacked[name])
            total[name] = ratio(times @ np.where(defined, stacked[name], 0.0), times @ defined)
        if self.surface:
            total["images"] = times @ ~np.isnan(stacked["hd95"])
        return total

    def _of_classes(self, counts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{figure: (K,)} of one image's counts, or of all images'."""
        found: dict[str, np.ndarray] = {}
        if self.boundary:
            found |= boundary_figures(counts["bands"], counts["contours"])
        if self.surface:
            found |= {f"{name}_{self.unit}": counts[name] for name in ("hd95", "assd")}
        return found

    def _figures(self, counts: Mapping[str, np.ndarray]) -> dict[str, float]:
        found = {f"mean_{name}": float(mean_of_known(values)) for name, values in self._of_classes(counts).items() if name not in _PARTS}
        if self.bins:
            found["expected_calibration_error"] = expected_calibration_error(counts["bins"])
            found["maximum_calibration_error"] = maximum_calibration_error(counts["bins"])
        if self.separates is not None:
            found["rand_error"] = float(counts["rand"])
        return found
