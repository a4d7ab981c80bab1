"""What went wrong with a data set's instances, gathered image by image: kinds of errors by class, and figures by size.

`seg.evaluation.errors` defines the kinds, `seg.evaluation.sizes` the figures.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from seg.evaluation.errors import PREDICTED_KINDS, TRUTH_KINDS, InstanceVerdict, judge, tally
from seg.evaluation.sizes import bin_sizes, quantile_edges
from seg.metrics.coco import ImageInstances


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
