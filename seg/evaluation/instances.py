"""What went wrong with a data set's instances, gathered image by image: kinds of errors by class, which
`seg.evaluation.errors` defines, and recall and precision by area: which sizes are found, and which predictions are right, at an IoU of 0.5.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from seg.evaluation.errors import PREDICTED_KINDS, TRUTH_KINDS, InstanceVerdict, judge, tally
from seg.metrics.coco import ImageInstances
from seg.metrics.semantic import ratio


class InstanceErrors:
    """The verdict of every instance seen, of predictions that score at least `score_threshold`.

    names: {category: class name}, of all that may occur. sizes: into how many bins of equally many true instances the areas are
    cut, or the areas in pixels at which bins begin. Masks are not kept.
    """

    def __init__(self, names: Mapping[int, str], score_threshold: float, sizes: int | Sequence[int]) -> None:
        self.names, self.score_threshold, self.sizes = dict(names), score_threshold, sizes
        self.verdicts: dict[str, list[InstanceVerdict]] = {}

    def update(self, image: ImageInstances) -> None:
        """Judge the instances of an image that `InstanceMetrics` took: it refuses one that came before, or has unknown categories."""
        self.verdicts[image.image_id] = judge(image, self.score_threshold)

    def counts(self) -> Counter[tuple[int, str, str]]:
        """How many instances there are of each (category, truth or predicted, kind)."""
        return tally([v for verdicts in self.verdicts.values() for v in verdicts])

    def bins(self) -> list[dict[str, Any]]:
        """Recall and precision by area, of all classes together."""
        verdicts = [v for each in self.verdicts.values() for v in each if v.kind != "crowd"]
        sides = [[v for v in verdicts if v.which == which] for which in ("truth", "predicted")]
        (truth, found), (predicted, correct) = (
            (np.array([v.area for v in side], np.int64), np.array([v.kind == "matched" for v in side], bool)) for side in sides
        )
        edges = quantile_edges(truth, self.sizes) if isinstance(self.sizes, int) else self.sizes
        return bin_sizes(truth, found, predicted, correct, edges)

    def tables(self) -> dict[str, list[Mapping[str, Any]]]:
        """errors: a row a class, how many of each kind. sizes: a row a bin. instances: a row an instance, images by their ids."""
        return {"errors": self._error_rows(), "sizes": list[Mapping[str, Any]](self.bins()), "instances": self._instance_rows()}

    def _error_rows(self) -> list[Mapping[str, Any]]:
        counts = self.counts()
        return [
            {"class": name}
            | {f"truth_{kind}": counts[category, "truth", kind] for kind in TRUTH_KINDS}
            | {f"predicted_{kind}": counts[category, "predicted", kind] for kind in PREDICTED_KINDS}
            for category, name in self.names.items()
        ]

    def _instance_rows(self) -> list[Mapping[str, Any]]:
        verdicts = [v for image_id in sorted(self.verdicts) for v in self.verdicts[image_id]]
        return [asdict(v) | {"category": self.names[v.category]} for v in verdicts]


def quantile_edges(areas: np.ndarray, num_bins: int) -> list[int]:
    """The areas, in pixels, at which bins begin that hold equally many of `areas` (N,) int64, but for the first, which begins at 0.

    A bin begins at an area that occurs. Equal areas share a bin, so where many are equal there are fewer bins, and unlike ones.
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be 1 or more, got {num_bins}")
    ordered = np.sort(areas)
    begins = [-(-len(ordered) * k // num_bins) for k in range(1, num_bins)]
    return sorted({int(ordered[i]) for i in begins if i < len(ordered) and ordered[i] > ordered[0]})


def bin_sizes(
    truth_areas: np.ndarray, found: np.ndarray, predicted_areas: np.ndarray, correct: np.ndarray, edges: Sequence[int]
) -> list[dict[str, Any]]:
    """A row for each bin: from 0 to the first edge, from each edge to the next, and from the last on; without edges one bin of all.

    low: pixels, where the bin begins; high: where the next one does, or None. num_truth, num_predicted: true instances and predictions
    whose own area lies in the bin. found: true ones that are matched. recall, precision: NaN without truth, and without predictions.

    truth_areas (G,) and predicted_areas (P,) int64 pixels; found (G,) and correct (P,) bool. ValueError where the edges, in
    pixels, do not rise from above 0.
    """
    bounds = [0, *edges]
    if any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(f"edges must be areas in pixels that rise from above 0, got {list(edges)}")

    def count(areas: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(edges, areas, side="right"), minlength=len(bounds))

    truths, matched = count(truth_areas), count(truth_areas[found])
    predictions, right = count(predicted_areas), count(predicted_areas[correct])
    recall, precision = ratio(matched, truths).tolist(), ratio(right, predictions).tolist()
    columns = ("low", "high", "num_truth", "found", "recall", "num_predicted", "precision")
    rows = zip(bounds, [*edges, None], truths.tolist(), matched.tolist(), recall, predictions.tolist(), precision, strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]
